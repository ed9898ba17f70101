"""Every transport, for the tests that all of them pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from inference.transport import LocalTransport, MemoryTransport, RedisTransport, Transport, serve_local
from tests.redis_server import Memory


class Clock:
    """Time that passes when a test says so. Seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "local", "redis"])
def transport(request: pytest.FixtureRequest, clock: Clock, tmp_path_factory) -> Iterator[Transport]:
    if request.param == "redis":
        yield from redis_transport(lease=15, heartbeat=10, retention=60, clock=clock)
        return
    memory = MemoryTransport(lease=15, heartbeat=10, retention=60, clock=clock)
    if request.param == "memory":
        yield memory
        return
    path = tmp_path_factory.mktemp("t") / "s"
    serve_local(path, b"key", memory, lambda group, message: None)
    yield LocalTransport(path, b"key")


def redis_transport(**settings) -> Iterator[RedisTransport]:
    """On the tests' server, under a prefix of its own, empty before and after."""
    with Memory().transport(line_age=0, **settings) as transport:
        yield transport


@pytest.fixture
def job():
    """``job(id, tenant="a", …)``: a job with what a test does not care about filled in."""
    from inference.messages import ChatMessage, Job, Sampling

    arrival = itertools.count()

    def make(job_id: str, tenant: str = "a", **fields) -> Job:
        values = {"model": "m", "prompt_tokens": 10, "submitted_at": float(next(arrival)), **fields}
        return Job(job_id, tenant, messages=(ChatMessage("user", "hi"),), sampling=Sampling(8), **values)

    return make
