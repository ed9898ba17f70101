"""The worker that embeds: a real model behind the real loop and the real memory transport."""

from __future__ import annotations

import base64
import threading
import time

import numpy as np
import pytest

from inference.embed.embedder import Embedder
from inference.embed.folder import read_folder
from inference.messages import BATCH, EMBEDDING, Ended, Job, Sampling, Started, Vectors, WorkerReport
from inference.transport import MemoryTransport
from inference.worker.loop import Worker
from inference.writers import embed as embed_module
from inference.writers.embed import EmbedWriter
from tests.inference.logs import ended, wait_until

TEXTS = ("the quick brown fox", "", "🦊 " * 30, "a b c", "the lazy dog " * 9)


@pytest.fixture
def transport():
    return MemoryTransport(retention=3600)


@pytest.fixture(scope="module")
def embedder(make_folder):
    return Embedder(read_folder(make_folder()), "cpu")


class Slow:
    """The model, held at every step until the test lets it go on."""

    def __init__(self, embedder):
        self._embedder, self.revision, self.encode = embedder, embedder.revision, embedder.encode
        self.steps = threading.Semaphore(0)

    def embed(self, token_ids):
        assert self.steps.acquire(timeout=30)
        return self._embedder.embed(token_ids)


@pytest.fixture
def run_worker(transport, embedder):
    """Start a worker in a thread; ``end(name)``, or the end of the test, stops it."""
    started = {}

    def end(name):
        worker, thread = started.pop(name)
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()

    def run(load=lambda: embedder, name="e1", grace=0.0, **options):
        def make(tell):
            return EmbedWriter(embedder.folder, load, **options)

        worker = Worker(transport, make, name=name, model="m", kind=EMBEDDING, grace=grace)
        thread = threading.Thread(target=worker.run)
        thread.start()
        started[name] = worker, thread
        return worker

    run.end = end
    yield run
    for name in list(started):
        end(name)


def job(name="e", texts=TEXTS, tenant="t", **fields):
    return Job(name, tenant, "m", (), Sampling(50), 50, kind=EMBEDDING, texts=tuple(texts), **fields)


def vectors(log, count):
    """``[count, dimensions]`` out of a log; every place is in it once."""
    found = {}
    for event in (event for event in log if isinstance(event, Vectors)):
        rows = np.frombuffer(base64.b64decode(event.data), "<f4").reshape(len(event.places), -1)
        assert not found.keys() & set(event.places)
        found |= dict(zip(event.places, rows, strict=True))
    return np.stack([found[place] for place in range(count)])


def by_hand(embedder, texts):
    encoded = embedder.encode(texts)
    return embedder.embed([text.token_ids for text in encoded]), sum(len(text.token_ids) for text in encoded)


def test_a_job_is_embedded_in_order_and_its_tokens_are_told(transport, run_worker, embedder):
    run_worker()
    transport.submit(job())
    log = ended(transport, "e")
    wanted, tokens = by_hand(embedder, TEXTS)
    assert np.abs(vectors(log, len(TEXTS)) - wanted).max() < 1e-5
    assert isinstance(log[0], Started)
    assert (log[0].worker, log[0].model, log[0].model_revision) == ("e1", "m", embedder.revision)
    assert (log[0].prompt_tokens, log[-1].reason, log[-1].prompt_tokens, log[-1].output_tokens) == (
        tokens,
        "stop",
        tokens,
        0,
    )


def test_many_texts_come_in_several_steps(transport, run_worker, embedder, monkeypatch):
    monkeypatch.setattr(embed_module, "STEP_TOKENS", 60)
    run_worker()
    texts = [f"the fox {'a ' * (number % 17)}" for number in range(80)]
    transport.submit(job(texts=texts))
    log = ended(transport, "e")
    assert sum(isinstance(event, Vectors) for event in log) > 5
    assert np.abs(vectors(log, 80) - by_hand(embedder, texts)[0]).max() < 1e-5
    assert sum(event.tokens for event in log if isinstance(event, Vectors)) == log[-1].prompt_tokens


def test_no_texts_end_at_once(transport, run_worker):
    run_worker()
    transport.submit(job(texts=()))
    assert [type(event) for event in ended(transport, "e")] == [Started, Ended]


def test_a_text_that_is_too_long_is_cut_or_refused_by_number(transport, run_worker, embedder):
    run_worker()
    transport.submit(job("cut", ["a", "a " * 500]))
    transport.submit(job("refused", ["a", "a " * 500], trim=False))
    assert vectors(ended(transport, "cut"), 2).shape == (2, 32)
    end = ended(transport, "refused")[-1]
    assert (end.reason, end.error_code, end.prompt_tokens) == ("failed", "prompt_too_long", 0)
    assert end.error_message == "Text 2 of 2 is longer than the 40 tokens that the model reads."


def test_a_cancel_is_heard_between_steps_and_what_was_embedded_is_charged(transport, run_worker, embedder, monkeypatch):
    monkeypatch.setattr(embed_module, "STEP_TOKENS", 10)
    slow = Slow(embedder)
    run_worker(lambda: slow)
    transport.submit(job(texts=["a b c d e"] * 50))
    slow.steps.release()
    wait_until(lambda: len(transport.log("e")) >= 2)
    transport.cancel("e")
    while not isinstance(transport.log("e")[-1], Ended):
        slow.steps.release()
        time.sleep(0.05)
    log = ended(transport, "e")
    assert log[-1].reason == "cancelled"
    assert log[-1].prompt_tokens == 7 * sum(len(event.places) for event in log if isinstance(event, Vectors))
    assert 1 <= log[-1].prompt_tokens // 7 <= 9


def test_another_worker_goes_on_where_one_was_told_to_end(transport, run_worker, embedder, monkeypatch):
    monkeypatch.setattr(embed_module, "STEP_TOKENS", 10)
    slow = Slow(embedder)
    worker = run_worker(lambda: slow)
    texts = [f"the {letter} fox" for letter in "abcdefghijklmnop" * 4]
    transport.submit(job(texts=texts))
    while sum(isinstance(event, Vectors) for event in transport.log("e")) < 2:
        slow.steps.release()
        time.sleep(0.05)
    worker.stop()
    slow.steps.release(1)  # for the step under way
    run_worker.end("e1")
    before = sum(len(event.places) for event in transport.log("e") if isinstance(event, Vectors))
    assert 0 < before < len(texts)
    run_worker(name="e2")
    log = ended(transport, "e")
    wanted, tokens = by_hand(embedder, texts)
    assert np.abs(vectors(log, len(texts)) - wanted).max() < 1e-5
    assert log[-1].prompt_tokens == tokens
    assert [event.worker for event in log if isinstance(event, Started)] == ["e1", "e2"]


def test_a_large_job_does_not_hold_a_small_one_and_an_urgent_one_goes_first(embedder):
    writer = EmbedWriter(embedder.folder, lambda: embedder)
    transport = MemoryTransport()
    transport.renew("w", WorkerReport("w", "ready", model="m", kind=EMBEDDING, at=time.time()))
    transport.submit(job("large", ["a b c"] * 500, band=BATCH))
    transport.submit(job("small", ["a"], "other", band=BATCH))
    for claim in transport.claim("w", 8, 10_000):
        writer.begin(claim)
    transport.submit(job("urgent", ["b"]))
    for claim in transport.claim("w", 8, 10_000):
        writer.begin(claim)
    written = writer.advance(0.0)
    assert next(piece.generation for piece in written if piece.vectors) == "urgent"
    assert {piece.generation for piece in written if piece.ended} == {"small", "urgent"}
    writer.close()


def test_a_step_that_fails_ends_its_jobs_and_the_worker_goes_on(transport, run_worker, embedder):
    class Failing:
        revision, encode, calls = embedder.revision, staticmethod(embedder.encode), 0

        def embed(self, token_ids):
            self.calls += 1
            if self.calls == 1:
                raise RuntimeError("not enough memory")
            return embedder.embed(token_ids)

    failing = Failing()
    run_worker(lambda: failing)
    transport.submit(job("first"))
    assert (ended(transport, "first")[-1].error_code, ended(transport, "first")[-1].reason) == (
        "engine_error",
        "failed",
    )
    transport.submit(job("second"))
    assert ended(transport, "second")[-1].reason == "stop"


def test_the_model_is_loaded_with_the_first_texts_and_the_worker_does_not_fall_silent_meanwhile(
    transport, run_worker, embedder
):
    loading, loaded = threading.Event(), threading.Event()

    def load():
        loading.set()
        assert loaded.wait(30)
        return embedder

    run_worker(load)
    wait_until(lambda: transport.stats().workers and transport.stats().workers[0].counters)
    report = transport.stats().workers[0]
    assert (report.kind, report.context_length, report.counters["dimensions"], report.counters["loaded"]) == (
        *(EMBEDDING, 40, 32.0, 0.0),
    )
    assert not loading.is_set()
    transport.submit(job())
    assert loading.wait(10)
    before = transport.stats().workers[0].at
    wait_until(lambda: transport.stats().workers[0].at > before + 1)
    loaded.set()
    assert ended(transport, "e")[-1].reason == "stop"
    wait_until(lambda: transport.stats().workers[0].counters["loaded"] == 1.0)
    assert transport.stats().workers[0].model_revision == embedder.revision


def test_a_model_that_cannot_be_loaded_ends_what_waits(transport, run_worker):
    def load():
        raise OSError("no such file")

    worker = run_worker(load)
    transport.submit(job())
    assert ended(transport, "e")[-1].reason == "failed"
    wait_until(lambda: worker.report.state == "failed")


def test_rest_is_called_for_once_nothing_has_come_for_a_while(transport, run_worker, embedder):
    rested = threading.Event()
    run_worker(idle_seconds=0.2, rest=rested.set)
    time.sleep(0.5)
    assert not rested.is_set(), "nothing has been loaded"
    transport.submit(job())
    assert ended(transport, "e")[-1].reason == "stop"
    assert rested.wait(5)


def test_what_it_has_done_is_counted(transport, run_worker, embedder):
    run_worker()
    transport.submit(job())
    tokens = float(ended(transport, "e")[-1].prompt_tokens)
    wait_until(lambda: transport.stats().workers[0].counters["embedded_tokens"] == tokens)
    counters = transport.stats().workers[0].counters
    assert (counters["embedded_texts"], counters["loads"]) == (5.0, 1.0)
    assert counters["embedding_seconds"] > 0
    assert counters["memory_bytes"] > 10_000_000
