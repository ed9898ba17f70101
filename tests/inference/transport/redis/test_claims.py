"""Who gets which job: models, sticky prefixes, one job to one worker."""

from __future__ import annotations

import threading
import time

from inference.messages import Claim, Ended, WorkerReport
from inference.worker.link import Link
from tests.inference.logs import wait_until
from tests.inference.transport.redis.jobs import STARTED, claimed, job, text


def ready(transport, *workers, model="m"):
    for worker in workers:
        transport.renew(worker, WorkerReport(worker, "ready", model=model))


def test_a_worker_gets_the_jobs_of_its_model_and_of_any(connect):
    transport = connect()
    ready(transport, "m-worker")
    ready(transport, "n-worker", model="n")
    transport.submit(job("for-n", model="n"))
    transport.submit(job("any", model=""))
    transport.submit(job("for-m", model="m"))
    assert claimed(transport, "m-worker") == ["any", "for-m"]
    assert claimed(transport, "m-worker") == []
    assert claimed(transport, "n-worker") == ["for-n"]


def test_a_report_comes_back_as_it_was_told(connect):
    transport = connect()
    report = WorkerReport("w", "ready", "m", counters={"steps": 2.0}, rate=3.5, answers=((1, 2),), lengths=(7,))
    transport.renew("w", report)
    assert transport.stats().workers == (report,)


def turn(transport, name, worker):
    transport.submit(job(name, conversation="c"))
    assert claimed(transport, worker) == [name]
    transport.publish(worker, {name: [Ended(1, "stop")]})


def test_a_conversation_waits_a_moment_for_the_worker_that_has_its_keys_and_values(connect):
    transport = connect()
    ready(transport, "one", "two")
    turn(transport, "first", "one")
    transport.submit(job("second", conversation="c"))
    transport.submit(job("other"))
    assert claimed(transport, "two") == ["other"]
    assert claimed(transport, "one") == ["second"]
    assert (transport.stats().sticky_hits, transport.stats().sticky_misses) == (1, 0)


def test_a_conversation_waits_no_longer_than_a_moment(connect):
    transport = connect()
    ready(transport, "one", "two")
    turn(transport, "first", "one")
    transport.submit(job("second", conversation="c"))
    began = time.monotonic()
    assert [claim.job.id for claim in transport.claim("two", 1, 100, wait=5.0)] == ["second"]
    assert 0.1 < time.monotonic() - began < 0.6
    assert (transport.stats().sticky_hits, transport.stats().sticky_misses) == (0, 1)


def test_a_conversation_does_not_wait_for_a_worker_that_is_gone(connect):
    now = [100.0]
    transport = connect(clock=lambda: now[0])
    turn(transport, "first", "one")
    now[0] += 16
    transport.submit(job("second", conversation="c"))
    assert claimed(transport, "two") == ["second"]


def test_two_workers_never_get_the_same_job(connect):
    transport = connect()
    for n in range(200):
        transport.submit(job(f"g{n}", tenant=f"t{n % 7}"))
    taken: list[str] = []

    def work(worker):
        while names := claimed(transport, worker, slots=3):
            taken.extend(names)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"g{n}" for n in range(200))


def test_a_cancel_reaches_its_worker_without_being_asked_for(connect):
    transport, web = connect(), connect()
    link = Link(transport, "w")
    link.start()
    web.submit(job("g"))
    link.beat(4, 100, busy=False)
    assert link.take(5.0)[0]
    link.beat(4, 100, busy=True)
    time.sleep(0.2)
    began = time.monotonic()
    web.cancel("g")
    wait_until(lambda: "g" in link.take()[1].cancelled)
    assert time.monotonic() - began < 0.2
    link.close()


def test_a_job_whose_only_worker_is_gone_can_be_stopped(connect):
    now = [100.0]
    transport = connect(clock=lambda: now[0])
    transport.submit(job("g"))
    claimed(transport)
    transport.publish("w", {"g": [STARTED, text(2, "a")]})
    now[0] += 16
    transport.cancel("g")
    assert transport.log("g")[-1] == Ended(3, "cancelled", 1, at=116.0)
    assert transport.renew("w").lost == {"g"}
    assert transport.publish("w", {"g": [text(3, "ghost")]}) == {"g"}


def test_a_claim_keeps_what_an_earlier_worker_wrote(connect):
    transport = connect()
    transport.submit(job("g"))
    transport.claim("w", 1, 100)
    transport.publish("w", {"g": [STARTED, text(2, "a")]})
    transport.hand_back("w", ["g"])
    (claim,) = transport.claim("v", 1, 100)
    assert claim == Claim(job("g"), (2,), 3, 1, 7.0, "a", 1, (STARTED, text(2, "a")))
