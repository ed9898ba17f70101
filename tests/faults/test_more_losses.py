"""Losses that take longer: leases that run out, servers that are away, processes that hang."""

from __future__ import annotations

import asyncio
import signal
import time
import urllib.request

import pytest

from tests.fake_upstream import Fault, words
from tests.faults.conftest import LENGTH, RATE, holder, make_key, query, wait_until, wait_until_well
from tests.faults.tabs import Tab

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


@pytest.mark.parametrize("seconds", [12, 60])
async def test_redis_stands_still(cluster, people, seconds):
    tabs = await people(2)
    for tab in tabs:
        await tab.ask()
    await asyncio.gather(*(tab.read(until=tab.has(10)) for tab in tabs))
    cluster.redis.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    cluster.redis.signal(signal.SIGCONT)
    assert await asyncio.gather(*(tab.read() for tab in tabs)) == [words(LENGTH)] * 2


async def test_redis_is_away_for_a_minute_and_comes_back_empty(cluster, people, upstream):
    upstream.length = 3 * LENGTH
    tabs = await people(2)
    for tab in tabs:
        await tab.ask()
    await asyncio.gather(*(tab.read(until=tab.has(10)) for tab in tabs))
    cluster.redis.kill()
    await asyncio.sleep(60)
    cluster.redis.start()
    assert await asyncio.gather(*(tab.read() for tab in tabs)) == [words(3 * LENGTH)] * 2


async def test_what_waited_in_a_redis_that_comes_back_empty_is_written_within_fifteen_seconds(cluster, people):
    tabs = await people(2)
    for worker in cluster.workers:
        worker.signal(signal.SIGSTOP)  # so that everything waits, the titles too
    for tab in tabs:
        await tab.ask()
    waiting = "SELECT kind FROM chat_generation WHERE finished_at IS NULL ORDER BY kind"
    expected = [("answer",)] * 2 + [("title",)] * 2
    await asyncio.to_thread(wait_until, lambda: query(cluster, waiting) == expected, 10, "what waits")
    cluster.redis.kill()
    cluster.redis.start()
    began = time.monotonic()
    for worker in cluster.workers:
        worker.signal(signal.SIGCONT)
    await asyncio.gather(*(tab.read(until=tab.has(1)) for tab in tabs))
    assert time.monotonic() - began < 15 + 2
    assert await asyncio.gather(*(tab.read() for tab in tabs)) == [words(LENGTH)] * 2


async def test_a_worker_and_redis_lost_at_once_take_nothing_that_was_read(cluster, people):
    """Nobody tells the empty Redis of the answer; the web process that has shown it keeps its words."""
    tabs = await people(2)
    for tab in tabs:
        await tab.ask()
    await asyncio.gather(*(tab.read(until=tab.has(40)) for tab in tabs))
    holders = {worker.name: worker for worker in [await asyncio.to_thread(holder, cluster, tab) for tab in tabs]}
    for worker in holders.values():
        worker.kill()
    cluster.redis.kill()
    cluster.redis.start()
    read = [tab.text for tab in tabs]
    texts = await asyncio.gather(*(tab.read() for tab in tabs))
    assert [tab.state for tab in tabs] == ["interrupted"] * 2
    assert all(text.startswith(before) and len(text.split()) >= 40 for text, before in zip(texts, read, strict=True))


async def test_every_process_is_replaced_in_turn_and_no_answer_is_lost(cluster, people):
    """What a rolling deployment does, under people who ask one thing after another."""
    tabs, over = await people(5), asyncio.Event()
    talks = [asyncio.create_task(talk(tab, over)) for tab in tabs]
    for program in (*cluster.webs, *cluster.workers, *cluster.background):
        program.signal(signal.SIGTERM)
        await asyncio.to_thread(wait_until, lambda program=program: not program.running, 40, f"{program.name}'s end")
        assert program.status in (0, -signal.SIGTERM), program.log.read_text()
        program.start()
        await asyncio.to_thread(wait_until_well, cluster)
    over.set()
    assert min(await asyncio.gather(*talks)) >= 2  # on a busy machine an answer takes as long as a few restarts


async def talk(tab: Tab, over: asyncio.Event) -> int:
    """Ask and read to the end until it is ``over``; how many answers there were."""
    count = 0
    while not over.is_set():
        await tab.ask()
        assert tab.error is None
        assert await tab.read() == words(LENGTH)
        assert tab.state == "done"
        count += 1
        await asyncio.sleep(4)  # a plan's rate
    return count


async def test_nobody_sees_that_postgresql_was_restarted(cluster, people):
    """Every connection of every process is dead then, and none of them knows."""
    tabs = await people(2)
    tabs[1].turn()
    calls = {"headers": {"Authorization": f"Bearer {make_key(cluster, tabs[0])}"}}

    async def look(tab: Tab, count: int) -> list[int]:
        pages = [tab.get(f"/w/{tab.slug}/chat/") for _ in range(count)]
        pages += [tab.get("/v1/models", **calls) for _ in range(count)]
        return [status for status, _ in await asyncio.gather(*pages)]

    for tab in tabs:
        assert set(await look(tab, 20)) == {200}  # the pools are full
    cluster.postgresql.signal(signal.SIGQUIT)
    while cluster.postgresql.running:  # noqa: ASYNC110 -- a process, which sets no event
        await asyncio.sleep(0.05)
    began = time.monotonic()
    statuses = [await look(tab, 1) for tab in tabs]
    assert {status for both in statuses for status in both} == {503}
    assert time.monotonic() - began < 5
    cluster.postgresql.start()
    await asyncio.to_thread(cluster.wait_for_postgresql)
    began = time.monotonic()
    for tab in tabs:
        assert set(await look(tab, 15)) == {200}
    assert time.monotonic() - began < 10
    for tab in tabs:
        await tab.ask()
        assert await tab.read() == words(LENGTH)


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


async def test_what_people_cause_does_not_delay_the_sweep_and_what_is_dropped_is_counted(cluster, people):
    """The worker of titles hangs with all its threads; then the sweep's own does."""
    cluster.celery.signal(signal.SIGSTOP)
    (tab,) = await people(1)
    await tab.ask()
    await tab.read(until=tab.has(10))
    name = tab.names["generation"]
    await tab.leave()
    ended = "SELECT 1 FROM chat_generation WHERE id = %s AND finished_at IS NOT NULL"
    seconds = LENGTH / RATE + 10 + 3
    await asyncio.to_thread(wait_until, lambda: query(cluster, ended, name), seconds, "the abandoned answer's end")
    cluster.celery.signal(signal.SIGCONT)
    cluster.periodic.signal(signal.SIGSTOP)
    before = runs(cluster, "expired")
    await asyncio.sleep(35)
    cluster.periodic.signal(signal.SIGCONT)
    await asyncio.to_thread(wait_until, lambda: runs(cluster, "expired") > before, 20, "the count of what was dropped")
    stored = query(cluster, "SELECT text, state FROM chat_message WHERE id = %s", tab.names["message"])
    tab.text, tab.state = stored[0]
    assert stored == [(words(LENGTH), "done")]


def runs(cluster, outcome: str) -> float:
    """Of the sweep, by the metrics."""
    url = f"{cluster.url(cluster.webs[0])}/metrics"
    request = urllib.request.Request(url, headers={"Authorization": "Bearer only-on-this-machine"})
    wanted = f'chatapp_task_runs_total{{outcome="{outcome}",task="chat.sweep"}} '
    with urllib.request.urlopen(request, timeout=10) as response:
        found = [line for line in response.read().decode().splitlines() if line.startswith(wanted)]
    return float(found[0].split()[-1]) if found else 0.0
