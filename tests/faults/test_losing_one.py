"""The four losses that happen in every operator's week, quickly enough for every run of the tests."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.fake_upstream import words
from tests.faults.conftest import LENGTH, holder, query, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


async def test_a_worker_killed_at_the_fiftieth_word_is_replaced_by_the_other(cluster, people):
    (tab,) = await people(1)
    await tab.ask()
    await tab.read(until=tab.has(50))
    holder(cluster, tab).kill()
    assert await tab.read() == words(LENGTH)
    assert (tab.state, tab.reconnects) == ("done", 0)


async def test_a_web_process_is_killed_and_its_readers_go_on_at_the_other(cluster, people):
    tabs = await people(3)
    for tab in tabs:
        await tab.ask()
    await asyncio.gather(*(tab.read(until=tab.has(20)) for tab in tabs))
    cluster.webs[0].kill()
    assert await asyncio.gather(*(tab.read() for tab in tabs)) == [words(LENGTH)] * 3
    assert [(tab.state, tab.reconnects >= 1) for tab in tabs] == [("done", True)] * 3


async def test_redis_comes_back_empty_and_is_told_again(cluster, people):
    tabs = await people(3)
    for tab in tabs:
        await tab.ask()
    await asyncio.gather(*(tab.read(until=tab.has(20)) for tab in tabs))
    cluster.redis.kill()
    cluster.redis.start()
    assert await asyncio.gather(*(tab.read() for tab in tabs)) == [words(LENGTH)] * 3
    assert [tab.state for tab in tabs] == ["done"] * 3


async def test_a_worker_is_told_to_end_and_ends_what_it_writes(cluster, people):
    tabs = await people(6)
    for tab in tabs:
        await tab.ask()
    await asyncio.gather(*(tab.read(until=tab.has(10)) for tab in tabs))
    for worker in cluster.workers:  # one after the other, as a rolling deployment does
        worker.signal(signal.SIGTERM)
        await asyncio.gather(*(tab.read(until=lambda worker=worker: not worker.running) for tab in tabs))
        await asyncio.to_thread(wait_until, lambda worker=worker: not worker.running, 35, "the worker's end")
        assert worker.status == 0, worker.log.read_text()
        worker.start()
    assert [await tab.read() for tab in tabs] == [words(LENGTH)] * 6
    assert [tab.state for tab in tabs] == ["done"] * 6


async def test_a_socket_ends_with_its_login_though_another_process_was_told(cluster, people):
    (tab,) = await people(1)
    await tab.ask()
    await tab.read(until=tab.has(5))
    began = time.monotonic()
    await tab.log_out(cluster.url(cluster.webs[1]))
    assert await tab.read_until_closed() == 4401
    assert time.monotonic() - began < 5 + 1
    stored = "SELECT text, state FROM chat_message WHERE id = %s AND state = 'done'"
    await asyncio.to_thread(wait_until, lambda: query(cluster, stored, tab.names["message"]), 20, "the answer's end")
    ((tab.text, tab.state),) = query(cluster, stored, tab.names["message"])
    assert tab.text == words(LENGTH)
