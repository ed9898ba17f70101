"""Losses that take longer: leases that run out, servers that are away, processes that hang."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.fake_upstream import Fault, words
from tests.faults.conftest import LENGTH, holder

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.mark.parametrize("after", [0, 1, LENGTH], ids=["before-the-first-word", "at-the-first", "at-the-last"])
async def test_a_worker_is_killed(cluster, people, upstream, after):
    upstream.faults.append(Fault("hang", after=after))
    (tab,) = await people(1)
    await tab.ask()
    await tab.read(until=tab.has(after))
    worker = await asyncio.to_thread(holder, cluster, tab)
    worker.kill()
    assert await tab.read() == words(LENGTH)
    assert tab.state == "done"


async def test_of_two_workers_one_hangs_and_what_it_says_later_is_not_heard(cluster, people):
    (tab,) = await people(1)
    await tab.ask()
    await tab.read(until=tab.has(10))
    hung = await asyncio.to_thread(holder, cluster, tab)
    hung.signal(signal.SIGSTOP)
    assert await tab.read() == words(LENGTH)
    hung.signal(signal.SIGCONT)
    await asyncio.sleep(3)
    assert tab.state == "done"


async def test_an_answer_that_ends_two_workers_fails_and_the_next_one_is_written(cluster, people):
    (tab,) = await people(1)
    await tab.ask()
    for words_so_far in (10, 30):
        await tab.read(until=tab.has(words_so_far))
        worker = await asyncio.to_thread(holder, cluster, tab)
        worker.kill()
        worker.start()
    text = await tab.read()
    assert (tab.state, words(LENGTH).startswith(text)) == ("failed", True)
    (other,) = await people(1)
    await other.ask()
    assert await other.read() == words(LENGTH)


async def test_redis_stands_still_for_twelve_seconds(cluster, people):
    tabs = await people(2)
    for tab in tabs:
        await tab.ask()
    await asyncio.gather(*(tab.read(until=tab.has(10)) for tab in tabs))
    cluster.redis.signal(signal.SIGSTOP)
    await asyncio.sleep(12)
    cluster.redis.signal(signal.SIGCONT)
    assert await asyncio.gather(*(tab.read() for tab in tabs)) == [words(LENGTH)] * 2


async def test_postgresql_is_restarted_at_once(cluster, people):
    tabs = await people(2)
    for tab in tabs:
        await tab.ask()
    await asyncio.gather(*(tab.read(until=tab.has(10)) for tab in tabs))
    cluster.postgresql.signal(signal.SIGQUIT)
    while cluster.postgresql.running:  # noqa: ASYNC110 -- a process, which sets no event
        await asyncio.sleep(0.05)
    cluster.postgresql.start()
    assert await asyncio.gather(*(tab.read() for tab in tabs)) == [words(LENGTH)] * 2
