"""What only the Redis transport does: losing its server, its memory, its connections; models; sticky prefixes."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest
import redis

from inference.errors import LogExpired, TransportUnavailable, UnknownGeneration
from inference.link import Link
from inference.messages import ChatMessage, Claim, Ended, Job, Sampling, Started, Text, WorkerReport
from inference.transport import RedisTransport
from inference.transport.redis_readers import MOST_PENDING
from tests.redis_server import RedisServer


@pytest.fixture
def server():
    server = RedisServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def connect(server):
    made = []

    def make(**settings) -> RedisTransport:
        made.append(RedisTransport(server.url, line_age=0, **settings))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


def job(name, tenant="t", **fields):
    fields = {"model": "m", "prompt_tokens": 5, **fields}
    return Job(name, tenant, messages=(ChatMessage("user", "hi"),), sampling=Sampling(8), **fields)


def text(seq, word):
    return Text(seq, word, (seq,))


STARTED = Started(1, "w", "m", "r", 5)


def claimed(transport, worker="w", slots=8):
    return [claim.job.id for claim in transport.claim(worker, slots, 10_000)]


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read(transport, generation):
    """The log; none while the server is away or does not know it."""
    try:
        return transport.log(generation)
    except (TransportUnavailable, UnknownGeneration):
        return []


# The server's absence


def test_a_server_that_is_away_is_said_to_be_and_found_again(server, connect):
    transport = connect()
    server.kill()
    with pytest.raises(TransportUnavailable, match=str(server.port)):
        transport.submit(job("g"))
    with pytest.raises(TransportUnavailable):
        transport.claim("w", 1, 100, wait=0.2)
    server.start()
    transport.submit(job("g"))
    assert claimed(transport) == ["g"]


def test_a_password_is_not_in_the_message_that_a_server_is_away():
    transport = RedisTransport("redis://user:geheim@127.0.0.1:1/0")
    with pytest.raises(TransportUnavailable) as refusal:
        transport.stats()
    assert "geheim" not in str(refusal.value)


def test_a_server_that_restarts_empty_is_told_again_what_a_worker_writes(server, connect):
    transport = connect()
    link = Link(transport, "w")
    link.start()
    for name in ("written", "ended", "silent"):
        transport.submit(job(name))
    link.beat(8, 1000, busy=False)
    claims = []
    wait_until(lambda: claims.extend(link.take()[0]) or len(claims) == 3)
    link.publish({"written": [STARTED, text(2, "a")], "ended": [STARTED, text(2, "x"), Ended(3, "stop", 1)]})
    wait_until(lambda: len(read(transport, "ended")) == 3)
    server.kill()
    link.publish({"written": [text(3, "b")]})
    time.sleep(0.2)
    server.start()
    link.publish({"written": [text(4, "c")]})
    wait_until(lambda: len(read(transport, "written")) == 4)
    assert read(transport, "written") == [STARTED, text(2, "a"), text(3, "b"), text(4, "c")]
    wait_until(lambda: len(read(transport, "ended")) == 3)
    assert read(transport, "ended")[-1] == Ended(3, "stop", 1)
    wait_until(lambda: transport.stats().running == 2)
    assert transport.log("silent") == []
    link.publish({"written": [Ended(5, "stop", 3)]})
    wait_until(lambda: len(transport.log("written")) == 5)
    link.close()


def test_a_job_that_was_queued_again_meanwhile_goes_on_where_it_was(server, connect):
    """The web may be faster than the worker to tell a server without memory."""
    transport = connect()
    transport.submit(job("g"))
    (claim,) = transport.claim("w", 1, 100)
    server.kill()
    server.start()
    transport.submit(job("g"))
    assert transport.restore("w", claim, [STARTED, text(2, "a")])
    assert transport.position("g") is None
    assert claimed(transport, "other") == []
    assert transport.log("g") == [STARTED, text(2, "a")]
    assert not transport.restore("other", claim, [STARTED, text(2, "ghost")])


def test_the_second_writer_of_a_job_tells_the_first_ones_tokens_too(server, connect):
    transport = connect(clock=lambda: now[0])
    now = [100.0]
    transport.submit(job("g"))
    transport.claim("first", 1, 100)
    transport.publish("first", {"g": [STARTED, text(2, "a")]})
    now[0] += 16
    (claim,) = transport.claim("second", 1, 100)
    server.kill()
    server.start()
    assert transport.restore("second", claim, [*claim.log, text(3, "b")])
    assert transport.log("g") == [STARTED, text(2, "a"), text(3, "b")]
    assert transport.claim("third", 1, 100) == []


def test_events_after_a_gap_are_refused(connect):
    transport = connect()
    transport.submit(job("g"))
    claimed(transport)
    assert transport.publish("w", {"g": [text(2, "b")]}) == {"g"}
    assert transport.log("g") == []


def test_leases_outlive_an_outage_for_a_moment(server, connect):
    """The first worker that is back must not take the jobs of those that are a moment later."""
    one, two = connect(lease=1.0), connect(lease=1.0)
    one.submit(job("g"))
    assert claimed(one, "one") == ["g"]
    os.kill(server.pid, signal.SIGSTOP)
    time.sleep(6.5)
    os.kill(server.pid, signal.SIGCONT)
    assert claimed(two, "two") == []
    assert one.renew("one").lost == frozenset()
    assert claimed(two, "two") == []


def test_a_claim_whose_answer_was_lost_comes_again(connect, monkeypatch):
    transport = connect()
    for name in ("g0", "g1", "g2"):
        transport.submit(job(name))
    run = transport._scripts.run

    def lose_answer(name, *args):
        run(name, *args)
        raise TransportUnavailable("lost on the way")

    with monkeypatch.context() as patch:
        patch.setattr(transport._scripts, "run", lose_answer)
        with pytest.raises(TransportUnavailable):
            transport.claim("w", 2, 1000)
    claims = transport.claim("w", 2, 1000)
    assert sorted((claim.job.id, claim.attempt) for claim in claims) == [("g0", 1), ("g1", 1)]
    assert claimed(transport) == ["g2"]


# Readers


async def follow(transport, generation, after_seq=0):
    return [event async for batch in transport.follow(generation, after_seq) for event in batch]


async def write(transport, first, count):
    for seq in range(first, first + count):
        await asyncio.to_thread(transport.publish, "w", {"g": [text(seq, f"{seq} ")]})


async def test_readers_lose_nothing_when_their_connections_are_cut(server, connect):
    transport = connect()
    transport.submit(job("g"))
    claimed(transport)
    readers = [asyncio.create_task(follow(transport, "g", seq)) for seq in (0, 0, 20)]
    admin = redis.Redis.from_url(server.url)
    transport.publish("w", {"g": [STARTED]})
    for round_ in range(5):
        await write(transport, 2 + 20 * round_, 20)
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal" if round_ % 2 else "pubsub", "SKIPME", "yes")
    await asyncio.to_thread(transport.publish, "w", {"g": [Ended(102, "stop", 100)]})
    logs = await asyncio.wait_for(asyncio.gather(*readers), 10)
    admin.close()
    assert [event.seq for event in logs[0]] == list(range(1, 103))
    assert logs[1] == logs[0]
    assert logs[2] == logs[0][20:]


async def test_a_reader_that_stops_reading_keeps_little_and_reads_on_later(connect):
    transport = connect()
    transport.submit(job("g"))
    claimed(transport)
    slow = transport.follow("g")
    transport.publish("w", {"g": [STARTED]})
    assert await anext(slow) == [STARTED]
    last = 3 * MOST_PENDING
    for seq in range(2, last, 50):
        await asyncio.to_thread(transport.publish, "w", {"g": [text(n, "x") for n in range(seq, min(seq + 50, last))]})
    await asyncio.to_thread(transport.publish, "w", {"g": [Ended(last, "stop", last)]})
    await asyncio.sleep(0.2)
    (reader,) = transport._readers[asyncio.get_running_loop()]._readers["g"]
    assert len(reader.pending) <= MOST_PENDING
    assert [event.seq async for batch in slow for event in batch] == list(range(2, last + 1))


async def test_a_process_has_two_connections_for_any_number_of_readers(server, connect):
    transport = connect()
    for n in range(50):
        transport.submit(job(f"g{n}"))
    readers = [asyncio.create_task(follow(transport, f"g{n}")) for n in range(50)]
    await asyncio.sleep(0.5)
    admin = redis.Redis.from_url(server.url)
    connections = await asyncio.to_thread(admin.client_list)
    assert len(connections) == 2 + 1 + 1, "readers' two, one that submitted, and this one"
    for n in range(50):
        await asyncio.to_thread(transport.cancel, f"g{n}")
    await asyncio.wait_for(asyncio.gather(*readers), 5)
    await asyncio.sleep(0.1)
    assert len(await asyncio.to_thread(admin.client_list)) == 2
    admin.close()


async def test_a_log_that_no_longer_reaches_back_says_so(connect):
    transport = connect(longest_log=10)
    transport.submit(job("g"))
    claimed(transport)
    transport.publish("w", {"g": [STARTED]})
    for seq in range(2, 400):
        transport.publish("w", {"g": [text(seq, "x")]})
    with pytest.raises(LogExpired):
        transport.log("g", 1)
    with pytest.raises(LogExpired):
        await follow(transport, "g", 1)
    assert transport.log("g", 398) == [text(399, "x")]


def test_nothing_of_an_ended_job_stays_for_ever(server, connect):
    transport = connect(retention=60)
    transport.submit(job("g", conversation="c"))
    claimed(transport)
    transport.publish("w", {"g": [STARTED, Ended(2, "stop")]})
    with redis.Redis.from_url(server.url) as admin:
        assert admin.hget("{chatapp}:job:g", "job") is None, "the person's words go first"
        assert 80_000 < admin.ttl("{chatapp}:log:g") <= 86_400
        transport.release("g")
        assert 0 < admin.ttl("{chatapp}:log:g") <= 60
        assert 0 < admin.ttl("{chatapp}:job:g") <= 60
        kept = {key.decode().removeprefix("{chatapp}:") for key in admin.scan_iter() if admin.ttl(key) == -1}
    assert kept == {"state", "counters", "leases", "requests"}


# Who gets which job


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
