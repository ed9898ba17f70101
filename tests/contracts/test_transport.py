"""The transport contract (inference/transport/base.py): submitting, claiming, and the line."""

from __future__ import annotations

import threading

from inference.messages import BATCH, Ended, Position, Text, Waiting, WorkerReport
from tests.contracts.claiming import STARTED, claim_ids


def test_a_job_is_claimed_once_with_everything_it_was_submitted_with(transport, job):
    submitted = job("g", weight=4.0, conversation="c", resume_text="so far")
    transport.submit(submitted)
    (claim,) = transport.claim("w", 8, 10_000)
    assert (claim.job, claim.token_ids, claim.next_seq, claim.attempt) == (submitted, (), 1, 1)
    assert transport.claim("v", 8, 10_000) == []


def test_submitting_an_id_twice_is_submitting_it_once(transport, job):
    transport.submit(job("g"))
    transport.submit(job("g"))
    assert claim_ids(transport) == ["g"]
    transport.publish("w", {"g": [STARTED, Ended(2, "stop")]})
    transport.submit(job("g"))
    assert claim_ids(transport) == []


def test_a_worker_gets_no_more_than_its_free_slots(transport, job):
    for n in range(3):
        transport.submit(job(f"g{n}"))
    assert claim_ids(transport, slots=2) == ["g0", "g1"]
    assert claim_ids(transport, slots=2) == ["g2"]


def test_a_worker_gets_no_more_than_fits_its_kv_cache_but_always_one(transport, job):
    for n in range(3):
        transport.submit(job(f"g{n}", prompt_tokens=60))
    assert claim_ids(transport, kv=100) == ["g0"]
    assert claim_ids(transport, kv=40) == []
    assert claim_ids(transport, worker="empty", kv=40) == ["g1"]


def test_jobs_of_one_tenant_go_in_order_and_tenants_by_their_counters(transport, job):
    for n in range(3):
        transport.submit(job(f"a{n}", "a", prompt_tokens=100))
    transport.submit(job("b0", "b", prompt_tokens=100))
    assert claim_ids(transport) == ["a0", "b0", "a1", "a2"]


def test_a_claim_tells_the_service_its_tenant_had_received_before_it(transport, job):
    for n in range(2):
        transport.submit(job(f"a{n}", "a", prompt_tokens=100, weight=4.0))
    transport.submit(job("b", "b", prompt_tokens=30))
    claims = transport.claim("w", 8, 10_000)
    assert [(claim.job.id, claim.counter) for claim in claims] == [("a0", 0.0), ("b", 0.0), ("a1", 25.0)]


def test_batch_work_goes_only_when_nothing_interactive_waits(transport, job):
    transport.submit(job("batch", "a", band=BATCH))
    transport.submit(job("first", "b"))
    transport.submit(job("second", "b"))
    assert claim_ids(transport) == ["first", "second", "batch"]


def test_a_waiting_worker_is_woken_by_a_job(transport, job):
    timer = threading.Timer(0.1, lambda: transport.submit(job("g")))
    timer.start()
    assert [claim.job.id for claim in transport.claim("w", 1, 100, wait=10.0)] == ["g"]
    timer.join()


def test_the_line_tells_everyone_who_waits_in_the_order_they_will_go(transport, job):
    for n in range(2):
        transport.submit(job(f"a{n}", "a", prompt_tokens=100))
    transport.submit(job("b0", "b", prompt_tokens=30))
    transport.submit(job("b1", "b", prompt_tokens=30))
    transport.submit(job("late", "c", prompt_tokens=1, band=BATCH))
    line = transport.line()
    assert [waiting.id for waiting in line] == ["a0", "b0", "b1", "a1", "late"]
    assert line[1] == Waiting("b0", "b", prompt_tokens=30, max_tokens=8, model="m")
    assert [waiting.id for waiting in line] == claim_ids(transport)
    assert transport.line() == []


def test_the_line_counts_what_each_will_write_up_to_its_limit(transport, job):
    for n in range(2):
        transport.submit(job(f"a{n}", "a", prompt_tokens=10))
        transport.submit(job(f"b{n}", "b", prompt_tokens=10, weight=4.0))
        transport.submit(job(f"c{n}", "c", prompt_tokens=20, weight=4.0))
    # a's first costs 10 + 2·8, b's (10 + 2·8) / 4, c's (20 + 2·8) / 4
    assert [waiting.id for waiting in transport.line(1000.0)] == ["a0", "b0", "c0", "b1", "c1", "a1"]


def test_the_line_shows_where_a_job_would_stand_and_is_not_changed_by_it(transport, job):
    for n in range(3):
        transport.submit(job(f"a{n}", "a", prompt_tokens=100))
    newcomer = job("n", "n", prompt_tokens=10)
    assert [waiting.id for waiting in transport.line(also=newcomer)] == ["a0", "n", "a1", "a2"]
    assert [waiting.id for waiting in transport.line(also=job("a3", "a"))] == ["a0", "a1", "a2", "a3"]
    assert claim_ids(transport) == ["a0", "a1", "a2"]
    assert [waiting.id for waiting in transport.line(also=newcomer)] == ["n"]


def test_position_tells_the_place_and_ends_with_the_claim(transport, job):
    transport.submit(job("g0"))
    transport.submit(job("g1"))
    assert transport.position("g0") == Position(1, 2)
    assert transport.position("g1") == Position(2, 2)
    transport.claim("w", 1, 100)
    assert transport.position("g0") is None
    assert transport.position("g1") == Position(1, 1)


def test_tokens_without_ids_are_charged_as_the_others_are(transport, job):
    for name, tenant in (("a0", "a"), ("b0", "b"), ("a1", "a"), ("b1", "b")):
        transport.submit(job(name, tenant))
    transport.claim("w", 2, 1000)
    transport.publish("w", {"a0": [STARTED, Text(2, "x", (), 50)], "b0": [STARTED, Text(2, "x", (1, 2))]})
    assert claim_ids(transport) == ["b1", "a1"]


def test_a_worker_gets_jobs_of_its_model_and_those_that_ask_for_none(transport, job, clock):
    transport.renew("w", WorkerReport("w", "ready", model="m", at=clock.now))
    for name, model in (("of-another", "n"), ("of-none", ""), ("its-own", "m")):
        transport.submit(job(name, model=model))
    assert claim_ids(transport) == ["of-none", "its-own"]
    assert claim_ids(transport, "whoever-has-not-reported") == ["of-another"]


def test_a_worker_gets_batch_work_of_its_model_while_people_wait_for_another(transport, job, clock):
    transport.renew("w", WorkerReport("w", "ready", model="m", at=clock.now))
    transport.submit(job("person", model="n"))
    transport.submit(job("bulk", band=BATCH, model="m"))
    assert claim_ids(transport) == ["bulk"]


def test_a_place_in_line_counts_the_jobs_that_the_same_workers_take(transport, job):
    for number, model in enumerate(["m", "n", "n", "", "m", "n"]):
        transport.submit(job(f"g{number}", model=model))
    found = [transport.position(f"g{number}") for number in range(6)]
    assert found == [
        Position(1, 3),
        Position(1, 4),
        Position(2, 4),
        Position(4, 6),  # any worker's, so that it stands behind everybody
        Position(3, 3),
        Position(4, 4),
    ]
    assert [waiting.model for waiting in transport.line()] == ["m", "n", "n", "", "m", "n"]
