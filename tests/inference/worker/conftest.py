"""The worker on a real engine and the real memory transport."""

from __future__ import annotations

import threading

import pytest

from inference.transport import MemoryTransport
from inference.worker.loop import Worker
from inference.writers.torch import TorchWriter


@pytest.fixture
def transport():
    return MemoryTransport(retention=3600)


@pytest.fixture
def run_worker(transport, make_engine):
    """Start a worker in a thread; it is stopped after the test, or by ``run_worker.end()``."""
    started = []

    def end():
        while started:
            worker, thread = started.pop()
            worker.stop()
            thread.join(10)
            assert not thread.is_alive()

    def run(name="w1", load=None, grace=0.0, **options):
        def load_engine(progress):
            return TorchWriter(load(progress) if load else make_engine(**options))

        worker = Worker(transport, load_engine, name=name, model="m", grace=grace)
        thread = threading.Thread(target=worker.run)
        thread.start()
        started.append((worker, thread))
        return worker

    run.end = end
    yield run
    end()
