"""The transport contract (inference/transport/base.py)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from inference.errors import TransportUnavailable, UnknownGeneration
from inference.messages import BATCH, Ended, Position, Started, Text, Waiting, WorkerReport
from inference.transport import LocalTransport, MemoryTransport, serve_local

STARTED = Started(1, "w", "m", "r", 10)


def claim_ids(transport, worker="w", slots=8, kv=10_000):
    return [claim.job.id for claim in transport.claim(worker, slots, kv)]


async def followed(transport, generation, after_seq=0):
    return [event async for batch in transport.follow(generation, after_seq) for event in batch]


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


def test_the_log_reads_from_any_sequence_number(transport, job):
    transport.submit(job("g"))
    transport.claim("w", 1, 100)
    events = [STARTED, Text(2, "one", (1,)), Text(3, "two", (2, 3)), Ended(4, "stop", 3)]
    transport.publish("w", {"g": events[:2]})
    transport.publish("w", {"g": events[2:]})
    assert [transport.log("g", seq) for seq in range(5)] == [events, events[1:], events[2:], events[3:], []]


def test_an_unknown_generation_is_an_error_to_read_and_nothing_to_cancel(transport):
    with pytest.raises(UnknownGeneration):
        transport.log("nobody")
    transport.cancel("nobody")


async def test_followers_get_every_event_from_where_they_ask_until_the_end(transport, job):
    transport.submit(job("g"))
    early = asyncio.create_task(followed(transport, "g"))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(transport.claim, "w", 1, 100)
    await asyncio.to_thread(transport.publish, "w", {"g": [STARTED, Text(2, "a", (1,))]})
    late = asyncio.create_task(followed(transport, "g", 1))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(transport.publish, "w", {"g": [Text(3, "b", (2,)), Ended(4, "stop", 2)]})
    whole = [STARTED, Text(2, "a", (1,)), Text(3, "b", (2,)), Ended(4, "stop", 2)]
    assert await asyncio.wait_for(early, 5) == whole
    assert await asyncio.wait_for(late, 5) == whole[1:]
    assert await asyncio.wait_for(followed(transport, "g", 2), 5) == whole[2:]


async def test_following_an_unknown_generation_is_an_error(transport):
    with pytest.raises(UnknownGeneration):
        await followed(transport, "nobody")


def test_cancelling_a_waiting_job_ends_it_at_once(transport, job, clock):
    transport.submit(job("g"))
    transport.cancel("g")
    assert transport.log("g") == [Ended(1, "cancelled", at=clock.now)]
    assert claim_ids(transport) == []
    assert transport.position("g") is None


def test_cancelling_a_running_job_reaches_its_worker_with_the_next_renewal(transport, job):
    for name in ("g", "h"):
        transport.submit(job(name))
    claim_ids(transport)
    assert transport.renew("w").cancelled == frozenset()
    transport.cancel("g")
    assert transport.renew("w").cancelled == {"g"}
    transport.publish("w", {"g": [Ended(1, "cancelled")]})
    assert transport.renew("w").cancelled == frozenset()


def test_cancelling_an_ended_job_changes_nothing(transport, job):
    transport.submit(job("g"))
    claim_ids(transport)
    transport.publish("w", {"g": [Ended(1, "stop")]})
    transport.cancel("g")
    assert transport.log("g") == [Ended(1, "stop")]


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


def test_tokens_without_ids_are_charged_as_the_others_are(transport, job):
    for name, tenant in (("a0", "a"), ("b0", "b"), ("a1", "a"), ("b1", "b")):
        transport.submit(job(name, tenant))
    transport.claim("w", 2, 1000)
    transport.publish("w", {"a0": [STARTED, Text(2, "x", (), 50)], "b0": [STARTED, Text(2, "x", (1, 2))]})
    assert claim_ids(transport) == ["b1", "a1"]


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


def test_events_that_come_twice_are_kept_once(transport, job):
    transport.submit(job("g"))
    claim_ids(transport)
    assert transport.publish("w", {"g": [STARTED, Text(2, "a", (1,))]}) == frozenset()
    assert transport.publish("w", {"g": [STARTED, Text(2, "a", (1,)), Text(3, "b", (2,))]}) == frozenset()
    assert transport.log("g") == [STARTED, Text(2, "a", (1,)), Text(3, "b", (2,))]


def test_publishing_tells_which_jobs_the_worker_does_not_hold(transport, job):
    for name in ("g", "h"):
        transport.submit(job(name))
    claims = transport.claim("w", 1, 100)
    assert transport.publish("w", {name: [STARTED] for name in ("g", "h", "nobody")}) == {"h", "nobody"}
    assert (transport.log("g"), transport.log("h")) == ([STARTED], [])
    assert transport.restore("w", claims[0], [STARTED])
    assert not transport.restore("other", claims[0], [STARTED, Text(2, "ghost", (1,))])
    assert transport.log("g") == [STARTED]


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


def test_a_released_log_goes_when_its_retention_is_over(transport, job, clock):
    for name in ("kept", "released"):
        transport.submit(job(name))
        claim_ids(transport)
        transport.publish("w", {name: [Ended(1, "stop")]})
    transport.release("released")
    clock.now += 61
    transport.submit(job("later"))
    assert transport.log("kept") == [Ended(1, "stop")]
    with pytest.raises(UnknownGeneration):
        transport.log("released")


def test_a_transport_out_of_reach_says_so_and_is_found_again(tmp_path, job):
    client = LocalTransport(tmp_path / "s", b"key")
    with pytest.raises(TransportUnavailable):
        client.submit(job("g"))
    serve_local(tmp_path / "s", b"key", MemoryTransport(), lambda group, message: None)
    client.submit(job("g"))
    assert claim_ids(client) == ["g"]


def test_a_socket_is_taken_away_once_and_no_other_in_its_place(tmp_path):
    """Whatever has become of the file meanwhile: nothing is printed at the end of the process."""
    path = tmp_path / "s"
    close = serve_local(path, b"key", MemoryTransport(), lambda group, message: None)
    close()
    assert not path.exists()
    close_gone = serve_local(path, b"key", MemoryTransport(), lambda group, message: None)
    path.unlink()
    close_gone()
    script = (
        "import sys; from pathlib import Path; from inference.transport import MemoryTransport, serve_local\n"
        "path = Path(sys.argv[1]); close = serve_local(path, b'key', MemoryTransport(), print)\n"
        "path.unlink(); close()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stderr == ""


def test_a_client_without_the_key_is_refused(tmp_path, job):
    from multiprocessing import AuthenticationError

    serve_local(tmp_path / "s", b"key", MemoryTransport(), lambda group, message: None)
    with pytest.raises(AuthenticationError):
        LocalTransport(tmp_path / "s", b"other").submit(job("g"))


def test_a_worker_hears_once_which_jobs_it_has_lost(transport, job, clock):
    transport.submit(job("g"))
    claim_ids(transport, "first")
    clock.now += 16
    claim_ids(transport, "second")
    assert transport.renew("first").lost == {"g"}
    assert transport.renew("first").lost == frozenset()
    assert transport.renew("second").lost == frozenset()
