"""Models that cannot be had, steps that fail and engines that die."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from inference.errors import ModelNotFound
from inference.messages import EMBEDDING, WorkerReport
from inference.worker.loop import Worker
from tests.inference.logs import ended, ids_of, wait_until
from tests.inference.worker.jobs import SAMPLING, job


def test_a_step_that_fails_ends_its_answers_and_the_worker_goes_on(transport, run_worker, make_engine):
    engine = make_engine()
    forward, broken = engine.runner.backend.forward, [True]

    def failing(model, batch):
        if broken.pop() if broken else False:
            raise RuntimeError("a kernel panicked")
        return forward(model, batch)

    engine.runner.backend.forward = failing
    run_worker(load=lambda progress: engine)
    transport.submit(job())
    end = ended(transport)[-1]
    assert (end.reason, end.error_code) == ("failed", "engine_error")
    assert "kernel" not in end.error_message, "what went wrong inside is for the log"
    transport.submit(job("next"))
    assert ended(transport, "next")[-1].reason == "length"


def test_loading_is_reported_and_a_model_that_cannot_be_had_is_said(transport, run_worker):
    def load(progress):
        progress(0.25, "Downloading x: 1 of 4 MB")
        reports.append(transport.stats().workers[0])
        raise ModelNotFound("Could not get x: the model hub cannot be reached from here.")

    reports = []
    worker = run_worker(load=load)
    wait_until(lambda: worker.report.state == "failed")
    assert (reports[0].state, reports[0].progress) == ("downloading", 0.25)
    assert transport.stats().workers[0].detail.startswith("Could not get x")


def test_without_a_model_what_waits_is_told_so_and_nothing_hangs(transport, run_worker):
    def load(progress):
        raise ModelNotFound("Could not get x.")

    transport.submit(job("early"))
    run_worker(load=load)
    end = ended(transport, "early")[-1]
    assert (end.reason, end.error_code) == ("failed", "no_worker")
    transport.submit(job("late"))
    assert ended(transport, "late")[-1].error_code == "no_worker"


def test_an_engine_that_dies_ends_its_answers_with_what_they_have(transport, run_worker, make_engine):
    engine = make_engine()
    step, steps = engine.step, []

    def dying():
        steps.append(1)
        if len(steps) > 10:
            raise MemoryError("the machine is out of memory")
        return step()

    engine.step = dying
    worker = run_worker(load=lambda progress: engine)
    transport.submit(job(sampling=replace(SAMPLING, max_tokens=100)))
    log = ended(transport)
    assert (log[-1].reason, log[-1].error_code) == ("failed", "engine_error")
    assert ids_of(log)
    wait_until(lambda: worker.report.state == "failed")


def test_of_several_workers_one_without_a_model_leaves_the_jobs_to_the_others(transport):
    def load(progress):
        raise ModelNotFound("Could not get x.")

    transport.submit(job())
    worker = Worker(transport, load, name="broken", model="m", alone=False)
    assert worker.run() is False
    assert transport.position("g").place == 1
    assert transport.stats().workers[0].state == "failed"


def test_of_several_on_one_machine_the_last_without_a_model_ends_what_waits(transport):
    def load(progress):
        raise ModelNotFound("Could not get x.")

    transport.renew("other", WorkerReport("other", "loading", model="m", at=time.time()))
    transport.submit(job())
    worker = Worker(transport, load, name="broken", model="m", alone=True)
    running = threading.Thread(target=worker.run)
    running.start()
    wait_until(lambda: [report.state for report in transport.stats().workers] == ["loading", "failed"])
    time.sleep(1.2)
    assert transport.position("g").place == 1, "the other is still loading"
    transport.renew("other", WorkerReport("other", "failed", model="m", at=time.time()))
    assert ended(transport)[-1].error_code == "no_worker"
    worker.stop()
    running.join(5)


def test_a_worker_that_embeds_is_no_reason_to_wait_for_an_answer(transport):
    def load(progress):
        raise ModelNotFound("Could not get x.")

    transport.renew("embeds", WorkerReport("embeds", "ready", model="e", kind=EMBEDDING, at=time.time()))
    transport.submit(job())
    worker = Worker(transport, load, name="broken", model="m", alone=True)
    running = threading.Thread(target=worker.run)
    running.start()
    assert ended(transport)[-1].error_code == "no_worker"
    worker.stop()
    running.join(5)
