"""The relay behind a real worker and transport, in front of servers that fail in every way they can."""

from __future__ import annotations

import threading

import pytest

from inference.transport import MemoryTransport
from inference.worker.loop import Worker
from inference.writers.relay import Relay, RelayOptions, server
from tests.fake_upstream import FakeUpstream
from tests.inference.logs import wait_until


@pytest.fixture
def transport():
    return MemoryTransport(retention=3600)


@pytest.fixture
def make_upstream():
    made = []

    def make(**options):
        made.append(FakeUpstream(**options).start())
        return made[-1]

    yield make
    for upstream in made:
        upstream.close()


@pytest.fixture
def relay(transport, monkeypatch):
    """Start a worker over the upstreams, or over addresses."""
    monkeypatch.setattr(server, "CHECK_SECONDS", 0.1)
    started = []

    def run(*upstreams, name="w", grace=0.0, **options):
        urls = tuple(getattr(upstream, "url", upstream) for upstream in upstreams)
        chosen = RelayOptions(urls=urls, **{"first_token_seconds": 2.0, "token_seconds": 1.0} | options)
        worker = Worker(transport, lambda progress: Relay(chosen), name=name, model="m", grace=grace)
        thread = threading.Thread(target=worker.run)
        thread.start()
        started.append((worker, thread))
        wait_until(lambda: worker.loaded)
        return worker

    yield run
    for worker, thread in started:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()
