"""Readers that are there and are not: one that stops reading, one whose connection is dead and says nothing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fake_upstream import words
from tests.faults.conftest import LENGTH, RATE, execute, memory_of, wait_until
from tests.faults.proxy import Proxy
from tests.faults.tabs import Tab

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(300)]

GONE_SECONDS = 42.0  # a ping every 20 s, 20 s for its answer, and a little
LONG_ANSWER = 20_000  # words, about 130 kB
READERS, TIMES = 8, 80
MEGABYTE = 2**20


@pytest.fixture
async def onlookers(people):
    """``await onlookers(tab, url, 3)``: as many more tabs of ``tab``'s person, at whose text nobody looks."""
    tabs: list[Tab] = []

    async def come(tab: Tab, url: str, count: int) -> list[Tab]:
        tabs.extend([await Tab(url).read_along(tab) for _ in range(count)])
        return tabs[-count:]

    yield come
    for tab in tabs:
        await tab.close()


def connections_of(url: str) -> int:
    """How many connections the server at ``url`` holds; those that the kernel alone still has to end are over."""
    port, established = urlsplit(url).port, "01"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(line[1].partition(":")[2], 16) == port and line[3] == established for line in lines)


async def test_a_reader_that_stops_reading_costs_nobody_anything_and_is_cut_off(cluster, people, onlookers, upstream):
    """It asks for a long answer again and again and takes none: ten times what it may cost the web process."""
    url = cluster.url(cluster.webs[0])
    person, other = await people(2)
    execute(cluster, "UPDATE accounts_plan SET max_output_tokens = %s WHERE code = 'free'", LONG_ANSWER)
    upstream.rate, upstream.length = 0, LONG_ANSWER
    await person.ask()
    assert await person.read() == words(LONG_ANSWER)
    upstream.rate, upstream.length = RATE, LENGTH
    before, open_before = memory_of(cluster.webs[0].pid), connections_of(url)
    for reader in await onlookers(person, url, READERS):
        reader.stop_reading()
        await reader.ask_again(TIMES)
    began = time.monotonic()
    await other.ask()
    assert await other.read() == words(LENGTH)
    assert time.monotonic() - began < 2 * LENGTH / RATE
    asked_for = READERS * TIMES * len(words(LONG_ANSWER))
    assert memory_of(cluster.webs[0].pid) - before < asked_for / 4, "each may hold a frame and a buffer"
    left = GONE_SECONDS - (time.monotonic() - began)
    await asyncio.to_thread(wait_until, lambda: connections_of(url) <= open_before, left, "the end of the stopped ones")


async def test_a_half_open_connection_is_gone_within_forty_seconds(cluster, people, onlookers, upstream):
    upstream.rate, upstream.length = RATE / 2, round(GONE_SECONDS * RATE / 2)
    (tab,) = await people(1)
    await tab.ask()
    async with Proxy(cluster.url(cluster.webs[1])) as proxy:
        (ghost,) = await onlookers(tab, proxy.url, 1)
        await ghost.read(until=ghost.has(5))
        began = time.monotonic()
        proxy.swallow()
        reading = asyncio.create_task(tab.read())
        await asyncio.wait_for(proxy.cut.wait(), GONE_SECONDS)
        assert time.monotonic() - began > 1, "not by the swallowing itself"
    assert await reading == words(upstream.length)
