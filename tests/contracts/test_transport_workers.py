"""The transport contract (inference/transport/base.py): leases, hand-overs and news of workers."""

from __future__ import annotations

import time

from inference.messages import Position, Text, WorkerReport
from tests.contracts.claiming import STARTED, claim_ids


def test_a_lost_lease_hands_the_job_with_its_tokens_to_the_next_worker(transport, job, clock):
    transport.submit(job("g"))
    claim_ids(transport, "first")
    transport.publish("first", {"g": [STARTED, Text(2, "ab", (7, 8)), Text(3, "c", (9,))]})
    clock.now += 14
    transport.renew("first")
    clock.now += 14
    assert claim_ids(transport, "second") == []
    clock.now += 2
    (claim,) = transport.claim("second", 1, 100)
    assert (claim.token_ids, claim.next_seq, claim.attempt) == ((7, 8, 9), 4, 2)
    assert (claim.text, claim.tokens) == ("abc", 3)


def test_a_job_handed_back_goes_to_the_next_worker_at_once_and_first(transport, job):
    for name in ("g", "later"):
        transport.submit(job(name))
    transport.claim("first", 1, 100)
    transport.publish("first", {"g": [STARTED, Text(2, "ab", (7, 8)), Text(3, "c", (), 2)]})
    transport.hand_back("first", ["g"])
    (claim,) = transport.claim("second", 1, 100)
    assert (claim.job.id, claim.text, claim.tokens, claim.token_ids) == ("g", "abc", 4, (7, 8))
    assert (claim.next_seq, claim.attempt) == (4, 1), "a worker that ends in order was not lost"
    transport.publish("first", {"g": [Text(4, "ghost", (1,))]})
    assert len(transport.log("g")) == 3
    assert transport.renew("first").lost == frozenset()


def test_a_job_is_handed_back_as_often_as_workers_end_and_still_not_lost(transport, job):
    transport.submit(job("g"))
    for worker in ("one", "two", "three"):
        assert claim_ids(transport, worker) == ["g"]
        transport.hand_back(worker, ["g"])
    assert transport.position("g") == Position(1, 1)
    assert transport.stats().running == 0


def test_a_cancelled_job_that_is_handed_back_ends(transport, job):
    transport.submit(job("g"))
    claim_ids(transport)
    transport.publish("w", {"g": [STARTED, Text(2, "a", (1,))]})
    transport.cancel("g")
    transport.hand_back("w", ["g"])
    end = transport.log("g")[-1]
    assert (end.seq, end.reason, end.output_tokens) == (3, "cancelled", 1)
    assert claim_ids(transport, "other") == []


def test_only_the_holder_hands_a_job_back(transport, job):
    transport.submit(job("g"))
    claim_ids(transport, "holder")
    transport.hand_back("other", ["g", "nobody"])
    assert claim_ids(transport, "other") == []
    assert transport.stats().running == 1


def test_what_a_worker_publishes_after_its_lease_was_lost_is_dropped(transport, job, clock):
    transport.submit(job("g"))
    claim_ids(transport, "first")
    clock.now += 16
    claim_ids(transport, "second")
    transport.publish("first", {"g": [STARTED, Text(2, "ghost", (1,))]})
    assert transport.log("g") == []


def test_a_job_that_lost_two_workers_fails(transport, job, clock):
    transport.submit(job("g"))
    for worker in ("first", "second"):
        claim_ids(transport, worker)
        clock.now += 16
    assert claim_ids(transport, "third") == []
    (end,) = transport.log("g")
    assert (end.reason, end.error_code) == ("failed", "worker_lost")


def hear(transport, worker="w"):
    """The next news."""
    deadline = time.monotonic() + 2
    while not any(news := transport.news(worker)):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return news


def hear_all(transport, worker="w"):
    """Everything may be new to whoever asks for the first time."""
    for _ in range(2):
        transport.news(worker)
        time.sleep(0.2)
    transport.news(worker)


def test_a_worker_hears_of_a_new_job_and_of_a_cancel_and_knows_them_apart(transport, job):
    hear_all(transport)
    transport.submit(job("g"))
    assert hear(transport) == (True, False)
    claim_ids(transport)
    assert not any(transport.news("w"))
    transport.cancel("g")
    assert hear(transport) == (False, True)
    assert transport.renew("w").cancelled == {"g"}


def test_a_worker_hears_of_what_is_handed_back_and_of_a_lease_it_has_lost(transport, job, clock):
    transport.submit(job("g"))
    claim_ids(transport, "other")
    hear_all(transport)
    transport.hand_back("other", ["g"])
    assert hear(transport).line
    assert claim_ids(transport) == ["g"]
    hear_all(transport)
    clock.now += 16
    assert claim_ids(transport, "other") == ["g"]
    assert hear(transport).own
    assert transport.renew("w").lost == {"g"}


def test_stats_count_jobs_and_know_living_workers_only(transport, job, clock):
    report = WorkerReport("w", "ready", model="m", at=clock.now)
    transport.renew("w", report)
    for n in range(3):
        transport.submit(job(f"g{n}"))
    transport.claim("w", 1, 100)
    stats = transport.stats()
    assert (stats.workers, stats.waiting, stats.running) == ((report,), 2, 1)
    clock.now += 11
    assert transport.stats().workers == ()


def test_a_worker_hears_once_which_jobs_it_has_lost(transport, job, clock):
    transport.submit(job("g"))
    claim_ids(transport, "first")
    clock.now += 16
    claim_ids(transport, "second")
    assert transport.renew("first").lost == {"g"}
    assert transport.renew("first").lost == frozenset()
    assert transport.renew("second").lost == frozenset()
