"""What a worker writes is on its tape until it is filed, and nobody sees a difference."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import redis

from inference.errors import TransportUnavailable
from inference.messages import Ended
from inference.transport.redis_tape import Tape

from .jobs import STARTED, claimed, job, text


@pytest.fixture
def admin(server):
    with redis.Redis.from_url(server.url) as client:
        yield client


def on_tape(admin, worker="w") -> int:
    return (admin.get(f"{{chatapp}}:tape:{worker}") or b"").count(b"\n")


def in_log(admin, generation="g") -> int:
    return admin.xlen(f"{{chatapp}}:log:{generation}")


def begin(transport, *names: str) -> None:
    for name in names:
        transport.submit(job(name))
    assert claimed(transport, slots=len(names)) == list(names)
    transport.publish("w", {name: [STARTED] for name in names})


def write(transport, seq: int, *names: str) -> frozenset[str]:
    return transport.publish("w", {name: [text(seq, f"{seq} ")] for name in names})


def seqs(transport, name="g", after=0) -> list[int]:
    return [event.seq for event in transport.log(name, after)]


def test_text_that_follows_goes_on_the_tape_and_is_in_the_log_all_the_same(connect, admin):
    transport = connect()
    begin(transport, "g", "h")
    for seq in range(2, 6):
        assert write(transport, seq, "g", "h") == frozenset()
    assert (on_tape(admin), in_log(admin)) == (8, 1)
    assert (seqs(transport), seqs(transport, after=3)) == ([1, 2, 3, 4, 5], [4, 5])
    transport.publish("w", {"g": [text(6, "."), Ended(7, "stop", 5)]})
    assert (seqs(transport), seqs(transport, "h")) == ([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5])
    assert transport.publish("w", {"g": [text(8, "more")]}) == {"g"}


def test_a_long_tape_is_filed(connect, admin):
    transport = connect(longest_tape=1000)
    begin(transport, "g", "h")
    for seq in range(2, 40):
        write(transport, seq, "g", "h")
    assert on_tape(admin) < 20
    assert in_log(admin) > 4
    assert (seqs(transport), seqs(transport, "h")) == (list(range(1, 40)), list(range(1, 40)))


def test_words_do_not_stay_on_a_tape_when_all_is_written(connect, admin):
    transport = connect()
    begin(transport, "g", "h")
    write(transport, 2, "g", "h")
    transport.publish("w", {"g": [Ended(3, "stop")]})
    assert on_tape(admin) == 2
    transport.publish("w", {"h": [Ended(3, "stop")]})
    assert not admin.exists("{chatapp}:tape:w", "{chatapp}:audience:w")


def test_an_old_tape_is_filed_with_a_heartbeat(connect, admin):
    transport = connect()
    begin(transport, "g")
    write(transport, 2, "g")
    transport.renew("w")
    assert on_tape(admin) == 1
    admin.expire("{chatapp}:tape:w", 86_400 - 31)
    transport.renew("w")
    assert (on_tape(admin), in_log(admin), seqs(transport)) == (0, 2, [1, 2])


def test_the_next_worker_has_what_was_on_the_tape_of_one_that_died(connect):
    now = [1000.0]
    transport = connect(clock=lambda: now[0], lease=10)
    begin(transport, "g", "h")
    write(transport, 2, "g", "h")
    now[0] += 11
    _outlast_patience(transport)
    claims = {claim.job.id: claim for claim in transport.claim("v", 2, 1000)}
    assert {name: (claim.text, claim.next_seq) for name, claim in claims.items()} == {"g": ("2 ", 3), "h": ("2 ", 3)}


def _outlast_patience(transport) -> None:
    with redis.Redis.from_url(transport._settings.url) as client:
        client.hdel("{chatapp}:state", "asked", "patient_until")


def test_a_worker_that_lost_its_jobs_writes_no_more_of_any_of_them(connect):
    now = [1000.0]
    transport = connect(clock=lambda: now[0], lease=10)
    begin(transport, "g", "h")
    write(transport, 2, "g", "h")
    now[0] += 11
    _outlast_patience(transport)
    assert len(transport.claim("v", 2, 1000)) == 2
    assert write(transport, 3, "g") == {"g"}
    assert write(transport, 3, "h") == {"h"}
    assert (seqs(transport), seqs(transport, "h")) == ([1, 2], [1, 2])


def test_a_job_that_is_handed_back_takes_its_words_along(connect):
    transport = connect()
    begin(transport, "g", "h")
    write(transport, 2, "g", "h")
    transport.hand_back("w", ["g"])
    (claim,) = transport.claim("v", 1, 1000)
    assert (claim.job.id, claim.text, claim.next_seq) == ("g", "2 ", 3)
    assert transport.publish("v", {"g": [text(3, "3 ")]}) == frozenset()
    assert write(transport, 3, "h") == frozenset()
    assert (seqs(transport), seqs(transport, "h")) == ([1, 2, 3], [1, 2, 3])


def test_a_job_that_comes_back_to_a_worker_does_not_get_old_words_from_its_tape(connect):
    transport = connect()
    begin(transport, "g", "h")
    write(transport, 2, "g", "h")
    transport.hand_back("w", ["g"])
    (claim,) = transport.claim("v", 1, 1000)
    transport.publish("v", {"g": [text(3, "three ")]})
    transport.hand_back("v", ["g"])
    (claim,) = transport.claim("w", 1, 1000)
    assert (claim.text, claim.next_seq) == ("2 three ", 4)
    assert write(transport, 4, "g", "h") == {"h"}, "of h 3 is missing"
    assert "".join(event.text for event in transport.log("g", 1)) == "2 three 4 "


def test_events_after_a_gap_are_refused_when_others_go_on_the_tape(connect, admin):
    transport = connect()
    begin(transport, "g", "h")
    write(transport, 2, "g", "h")
    assert transport.publish("w", {"g": [text(3, "3 ")], "h": [text(4, "4 ")]}) == {"h"}
    assert (seqs(transport), seqs(transport, "h")) == ([1, 2, 3], [1, 2])


def test_a_server_that_fell_back_behind_a_tape_is_told_so(connect, admin):
    """As a replica that had not heard of the last flush, and leads now."""
    transport = connect()
    begin(transport, "g", "h")
    write(transport, 2, "g", "h")
    tape, flushes = admin.get("{chatapp}:tape:w"), admin.hgetall("{chatapp}:flushes")
    write(transport, 3, "g", "h")
    admin.set("{chatapp}:tape:w", tape)
    admin.hset("{chatapp}:flushes", mapping=flushes)
    assert write(transport, 4, "g", "h") == {"g", "h"}
    assert seqs(transport) == [1, 2]


@pytest.mark.parametrize("done", [True, False])
def test_a_flush_whose_answer_was_lost_is_there_once_and_charged_once(connect, admin, monkeypatch, done):
    transport = connect()
    begin(transport, "g")
    write(transport, 2, "g")
    before = float(admin.hget("{chatapp}:counters", "t"))
    run = transport._scripts.run

    def lose(name, *arguments):
        if done:
            run(name, *arguments)
        raise TransportUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(transport._scripts, "run", lose)
        with contextlib.suppress(TransportUnavailable):
            write(transport, 3, "g")
    assert transport.publish("w", {"g": [text(3, "3 "), text(4, "4 ")]}) == frozenset()
    assert "".join(event.text for event in transport.log("g", 1)) == "2 3 4 "
    assert float(admin.hget("{chatapp}:counters", "t")) - before == 2 * 2.0


def test_a_flush_that_the_client_sends_twice_is_there_once(connect, admin, monkeypatch):
    transport = connect()
    begin(transport, "g")
    write(transport, 2, "g")
    run, before = transport._scripts.run, float(admin.hget("{chatapp}:counters", "t"))

    def twice(name, *arguments):
        run(name, *arguments)
        return run(name, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(transport._scripts, "run", twice)
        assert write(transport, 3, "g") == frozenset()
    assert (on_tape(admin), seqs(transport)) == (2, [1, 2, 3])
    assert float(admin.hget("{chatapp}:counters", "t")) - before == 2.0


async def test_readers_of_either_process_hear_what_goes_on_a_tape_and_only_what_they_read(connect):
    writer, near, far = connect(), connect(), connect()
    begin(writer, "g", "h")
    streams = [near.follow("g"), far.follow("g"), far.follow("h")]
    heard = [await anext(stream) for stream in streams]
    assert heard == [[STARTED]] * 3
    for seq in (2, 3):
        write(writer, seq, "g", "h")
        assert [await anext(stream) for stream in streams] == [[text(seq, f"{seq} ")]] * 3
    for stream in streams:
        await stream.aclose()


async def test_a_reader_that_joined_before_the_claim_hears_the_tape(connect):
    writer, reader = connect(), connect()
    writer.submit(job("g"))
    stream = reader.follow("g")
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.3)
    assert claimed(writer) == ["g"]
    writer.publish("w", {"g": [STARTED]})
    assert await first == [STARTED]
    write(writer, 2, "g")
    assert await anext(stream) == [text(2, "2 ")]
    await stream.aclose()


def test_only_text_that_follows_what_was_looked_at_is_for_the_tape():
    tape = Tape()
    tape.hold([job("g"), job("h")])
    assert tape.sort({"g": [STARTED]}) == ({}, {"g": [STARTED]})
    tape.taken("1", {"g": [STARTED], "h": [STARTED], "other": [STARTED]}, ["h"])
    events = {"g": [text(2, "a"), text(3, "b")], "h": [text(2, "a")], "other": [text(2, "a")]}
    assert [set(part) for part in tape.sort(events)] == [{"g"}, {"h", "other"}]
    assert [set(part) for part in tape.sort({"g": [text(3, "gap")]})] == [set(), {"g"}]
    assert [set(part) for part in tape.sort({"g": [text(2, "a"), Ended(3, "stop")]})] == [set(), {"g"}]
    tape.doubt()
    assert [set(part) for part in tape.sort({"g": [text(2, "a")]})] == [set(), {"g"}]
