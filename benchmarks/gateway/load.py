"""One case: answers asked for one after the other, read side by side, and what the processes used meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.gateway.clients import Address, Answer, Caller, Page
from benchmarks.gateway.figures import Case, Measured, Seconds, summarise
from benchmarks.gateway.product import Product
from benchmarks.gateway.upstream import question

PATIENCE_SECONDS = 60.0  # on top of what an answer takes by its pace
SETTLE_SECONDS = 1.0  # for what is done after an end
OPENING = 20  # pages opened at once

Ask = Callable[[int, str, float], Awaitable[Answer]]  # who, what, seconds until it is given up
Cpu = Callable[[], Seconds]


async def run(case: Case, ask: Ask, cpu: Cpu = dict, rss: Callable[[], dict[str, int]] = dict) -> dict[str, Any]:
    """Figures of ``case``. ``cpu`` tells the seconds so far of each process, ``rss`` its bytes."""
    before, began = cpu(), time.monotonic()
    watch = asyncio.create_task(_watch(case, cpu, rss))
    answers = await asyncio.gather(*(_ask_in_turn(case, ask, number) for number in range(case.streams)))
    seconds = time.monotonic() - began
    await asyncio.sleep(SETTLE_SECONDS)
    steady, sizes = await watch
    return summarise(Measured(case, answers, began, seconds, _less(cpu(), before), steady, sizes))


async def _ask_in_turn(case: Case, ask: Ask, number: int) -> Answer:
    await asyncio.sleep(number / case.starts)
    seconds = case.tokens / case.rate if case.rate else 0.0
    return await ask(number, question(case.tokens, case.rate), seconds + PATIENCE_SECONDS)


async def _watch(case: Case, cpu: Cpu, rss: Callable[[], dict[str, int]]) -> tuple[Seconds, dict[str, int]]:
    """The processor seconds of the steady part, and the sizes in it."""
    if case.steady is None:
        return {}, rss()
    begins, ends = case.steady
    await asyncio.sleep(begins)
    before = cpu()
    await asyncio.sleep(ends - begins)
    return _less(cpu(), before), rss()


def _less(after: Seconds, before: Seconds) -> Seconds:
    return {name: after[name] - before[name] for name in after}


def calling(address: Address, key: str, model: str) -> Ask:
    """Everybody with a connection of their own, opened when they ask."""

    async def ask(number: int, text: str, seconds: float) -> Answer:
        return await Caller(key, model).ask(address, text, seconds)

    return ask


async def open_pages(product: Product, number: int) -> list[Page]:
    """Of ``number`` people, or several of each where there are fewer."""
    people, gate = product.people, asyncio.Semaphore(OPENING)
    pages = [Page(people[n % len(people)], product.slug) for n in range(number)]

    async def open_one(page: Page) -> None:
        async with gate:
            await page.open(product.address)

    await asyncio.gather(*map(open_one, pages))
    return pages


def paging(pages: Sequence[Page]) -> Ask:
    async def ask(number: int, text: str, seconds: float) -> Answer:
        return await pages[number].ask(text, seconds)

    return ask


async def measure_idle(product: Product, number: int) -> dict[str, float]:
    """KiB of the web process and of Redis for each open page that says nothing."""
    await _close(await open_pages(product, len(product.people)))  # what the first ones cost once for all
    before = product.rss()
    pages = await open_pages(product, number)
    await asyncio.sleep(2 * SETTLE_SECONDS)
    after, open_now = product.rss(), sum(page.is_open for page in pages)
    await _close(pages)
    each = {f"{name}_kib_each": round((after[name] - before[name]) / number / 1024, 1) for name in ("web", "redis")}
    return {"sockets": number, "open": open_now, **each, "web_mb": round(after["web"] / 1e6, 1)}


async def _close(pages: Sequence[Page]) -> None:
    for page in pages:
        page.close()
    await asyncio.sleep(2 * SETTLE_SECONDS)
