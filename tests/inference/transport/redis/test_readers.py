"""Readers: cut connections, slow ones, many over few connections, logs that no longer reach back."""

from __future__ import annotations

import asyncio

import pytest
import redis

from inference.errors import LogExpired
from inference.messages import Ended
from inference.transport.redis_readers import MOST_PENDING
from tests.inference.transport.redis.jobs import STARTED, claimed, job, text


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


async def test_a_reader_is_told_by_an_empty_batch_that_its_connection_was_cut(server, connect):
    transport = connect()
    transport.submit(job("g"))
    claimed(transport)
    transport.publish("w", {"g": [STARTED]})
    batches = transport.follow("g")
    assert await anext(batches) == [STARTED]
    admin = redis.Redis.from_url(server.url)
    admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    admin.close()
    assert await asyncio.wait_for(anext(batches), 10) == []
    await asyncio.to_thread(transport.publish, "w", {"g": [Ended(2, "stop", 1)]})
    assert [event async for batch in batches for event in batch] == [Ended(2, "stop", 1)]


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
    transport = connect(longest_log=10, longest_tape=0)
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
    assert kept == {"state", "counters", "leases", "requests", "flushes"}
