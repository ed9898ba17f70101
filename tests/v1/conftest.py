"""The door as programs meet it: a real server, the official client, and a worker moved by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import openai
import pytest
import uvicorn

from chatapp.asgi import application
from scripts.programs import free_port
from tests.factories import ApiKeyFactory
from tests.hand_worker import HandWorker


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The product's web side, in a thread: each test brings its own transport and rows."""
    port = free_port()
    options = {"log_level": "warning", "lifespan": "off", "timeout_graceful_shutdown": 1}
    config = uvicorn.Config(application, port=port, http="chatapp.serve.http_connections:Http", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{port}/v1"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def key(transactional_db, transport):
    return ApiKeyFactory()


@pytest.fixture
def client_with(address):
    """``client_with(secret)``: the official client; it does not try again by itself."""
    clients = []

    def make(secret: str, **options) -> openai.OpenAI:
        clients.append(openai.OpenAI(base_url=address, api_key=secret, **{"max_retries": 0, "timeout": 20, **options}))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(client_with, key) -> openai.OpenAI:
    return client_with(key.secret)


class Machine(HandWorker):
    """A hand that waits for the job it is to take: the caller is in another thread."""

    def take(self):
        (claim,) = self.transport.claim(self.name, 1, 1_000_000, wait=10)
        self.jobs[claim.job.id] = claim.job
        self._seq[claim.job.id], self._tokens[claim.job.id] = claim.next_seq - 1, 0
        return claim.job


@pytest.fixture
def machine(transport) -> Machine:
    return Machine(transport)


@pytest.fixture
def answering(machine) -> Iterator[Callable[..., None]]:
    """``answering("a", "b")``: the next job that comes is answered so, in a thread."""
    threads = []

    def start(*pieces: str, reason: str = "stop") -> None:
        thread = threading.Thread(target=machine.answer, args=pieces, kwargs={"reason": reason})
        threads.append(thread)
        thread.start()

    yield start
    for thread in threads:
        thread.join(15)
        assert not thread.is_alive()
