"""The transport contract (inference/transport/base.py): logs, their readers, and how jobs end."""

from __future__ import annotations

import asyncio

import pytest

from inference.errors import UnknownGeneration
from inference.messages import Ended, Text
from tests.contracts.claiming import STARTED, claim_ids


async def followed(transport, generation, after_seq=0):
    return [event async for batch in transport.follow(generation, after_seq) for event in batch]


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


def test_what_has_ended_is_listed_until_it_is_released(transport, job):
    for name in ("ended", "cancelled", "running", "waiting"):
        transport.submit(job(name))
    assert len(transport.claim("w", 3, 100)) == 3
    transport.publish("w", {"ended": [STARTED, Ended(2, "stop", 0)], "cancelled": [STARTED, Ended(2, "cancelled", 0)]})
    assert transport.unreleased() == {"ended", "cancelled"}
    transport.release("ended")
    transport.release("running")
    assert transport.unreleased() == {"cancelled"}
    transport.cancel("waiting")
    assert transport.unreleased() == {"cancelled", "waiting"}


def test_what_waits_or_is_held_is_listed_until_it_ends(transport, job):
    for name in ("ended", "running", "waiting"):
        transport.submit(job(name))
    transport.claim("w", 2, 100)
    assert transport.live() == {"ended", "running", "waiting"}
    transport.publish("w", {"ended": [STARTED, Ended(2, "stop", 0)]})
    assert transport.live() == {"running", "waiting"}
    transport.cancel("waiting")
    assert transport.live() == {"running"}


async def test_to_release_a_job_that_has_not_ended_takes_it_from_its_line_and_its_worker(transport, job, clock):
    """The database has the end of both, which the transport has lost."""
    for name in ("held", "waiting"):
        transport.submit(job(name))
    (claim,) = await asyncio.to_thread(transport.claim, "w", 1, 100)
    transport.publish("w", {"held": [STARTED, Text(2, "a", (1,))]})
    reader = asyncio.create_task(followed(transport, "held"))
    await asyncio.sleep(0.05)
    for name in ("held", "waiting"):
        await asyncio.to_thread(transport.release, name)
    assert await asyncio.wait_for(reader, 5) == [
        STARTED,
        Text(2, "a", (1,)),
        Ended(3, "cancelled", 1, at=clock.now),
    ]
    assert transport.live() == transport.unreleased() == frozenset()
    assert (transport.stats().waiting, transport.stats().running) == (0, 0)
    assert transport.publish("w", {"held": [Text(3, "b", (2,))]}) == {"held"}
    assert not transport.restore("w", claim, [STARTED, Text(2, "a", (1,)), Text(3, "b", (2,))])
    assert transport.renew("w").lost == {"held"}
    assert claim_ids(transport) == []
    clock.now += 61
    transport.submit(job("later"))
    with pytest.raises(UnknownGeneration):
        transport.log("held")


def test_to_release_what_nobody_knows_changes_nothing(transport):
    transport.release("nobody")
    assert transport.live() == transport.unreleased() == frozenset()
