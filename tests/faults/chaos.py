"""People who talk, programs that call and a hand that breaks things, each by a seed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable

import aiohttp

from scripts.cluster import Cluster, Program
from tests.fake_upstream import words
from tests.faults.conftest import LENGTH, wait_until_well
from tests.faults.tabs import Tab
from tests.redis_server import accept, refuse

REST_SECONDS = (1.0, 6.0)  # between two faults, once everything is well again
# A worker's answers are told again to an emptied Redis by itself: who loses both at once loses what nobody has shown.
APART_SECONDS = 20.0


class Person(Tab):
    """A tab that asks one thing after another, comes back elsewhere, and notes how long it was kept waiting."""

    def __init__(self, *urls: str) -> None:
        super().__init__(*urls)
        self.answers: list[tuple[str, str, str]] = []  # key, state, text
        self.pauses: list[float] = []  # the longest of each answer
        self._heard = self._longest = 0.0

    async def talk(self, dice: random.Random, over: asyncio.Event) -> None:
        while not over.is_set():
            self._longest = 0.0
            await self.ask_until_accepted()
            self._heard = time.monotonic()
            if dice.random() < 0.2:
                await self.read(until=self.has(dice.randrange(1, LENGTH)))
                self.turn()
                await self.leave()
            await self.read()
            self.answers.append((self._asked["key"], self.state, self.text))
            self.pauses.append(self._longest)
            await asyncio.sleep(dice.uniform(0, 2))

    def _take_answer(self, frame: dict[str, object]) -> None:
        super()._take_answer(frame)
        if frame["type"] in ("tokens", "end", "resync"):
            now = time.monotonic()
            self._longest, self._heard = max(self._longest, now - self._heard), now


class Caller:
    """A program: streamed answers that came to their end, and how its other calls ended."""

    def __init__(self, urls: list[str], key: str) -> None:
        self._urls, self._headers = urls, {"Authorization": f"Bearer {key}"}
        self.whole: list[str] = []
        self.refused: list[int] = []
        self.cut = 0

    async def call(self, dice: random.Random, over: asyncio.Event) -> None:
        messages = [{"role": "user", "content": "Go on."}]
        async with aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=120)) as session:
            while not over.is_set():
                body = {"model": "fake", "messages": messages, "stream": dice.random() < 0.7}
                try:
                    await self._ask(session, f"{dice.choice(self._urls)}/v1/chat/completions", body)
                except (aiohttp.ClientError, TimeoutError):
                    self.cut += 1
                await asyncio.sleep(dice.uniform(0, 2))

    async def _ask(self, session: aiohttp.ClientSession, url: str, body: dict[str, object]) -> None:
        async with session.post(url, json=body) as response:
            if response.status != 200:
                self.refused.append(response.status)
                assert "error" in await response.json()
            elif body["stream"]:
                self._read(await response.text())
            else:
                self.whole.append((await response.json())["choices"][0]["message"]["content"])

    def _read(self, stream: str) -> None:
        pieces = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
        if pieces[-1:] != ["[DONE]"]:
            self.cut += 1
            return
        chunks = [json.loads(piece)["choices"] for piece in pieces[:-1]]
        self.whole.append("".join(choices[0]["delta"].get("content") or "" for choices in chunks if choices))


class Killer:
    """Breaks one thing after another; ``done`` are the names of what it did."""

    def __init__(self, cluster: Cluster, dice: random.Random) -> None:
        self._cluster, self._dice, self.done = cluster, dice, []
        self._lost_worker = self._emptied = float("-inf")

    async def work(self, over: asyncio.Event) -> None:
        while not over.is_set():
            fault = self._dice.choice(self._faults())
            self.done.append(fault.__name__)
            await fault()
            await asyncio.to_thread(wait_until_well, self._cluster)
            await asyncio.sleep(self._dice.uniform(*REST_SECONDS))

    def _faults(self) -> list[Callable[..., object]]:
        now, always = time.monotonic(), [self.kill_web, self.restart_web, self.stop_worker, self.kill_background]
        always += [self.refuse_redis, self.hang_redis, self.restart_postgresql, self.hang_postgresql]
        if now - self._emptied > APART_SECONDS:
            always += [self.kill_worker, self.hang_worker]
        if now - self._lost_worker > APART_SECONDS:
            always += [self.empty_redis]
        return always

    async def kill_web(self) -> None:
        await self._replace(self._dice.choice(self._cluster.webs), signal.SIGKILL)

    async def restart_web(self) -> None:
        await self._replace(self._dice.choice(self._cluster.webs), signal.SIGTERM)

    async def stop_worker(self) -> None:
        await self._replace(self._dice.choice(self._cluster.workers), signal.SIGTERM)

    async def kill_worker(self) -> None:
        self._lost_worker = time.monotonic()
        await self._replace(self._dice.choice(self._cluster.workers), signal.SIGKILL)

    async def hang_worker(self) -> None:
        await self._hang(self._dice.choice(self._cluster.workers), self._dice.uniform(3, 20))
        self._lost_worker = time.monotonic()

    async def kill_background(self) -> None:
        await self._replace(self._dice.choice(self._cluster.background), signal.SIGKILL)

    async def empty_redis(self) -> None:
        self._emptied = time.monotonic()
        await self._replace(self._cluster.redis, signal.SIGKILL)

    async def hang_redis(self) -> None:
        await self._hang(self._cluster.redis, self._dice.uniform(1, 6))

    async def refuse_redis(self) -> None:
        await asyncio.to_thread(refuse, self._cluster.redis_url, self._dice.choice(["readonly", "noreplicas", "oom"]))
        await asyncio.sleep(self._dice.uniform(1, 5))
        await asyncio.to_thread(accept, self._cluster.redis_url)

    async def restart_postgresql(self) -> None:
        await self._replace(self._cluster.postgresql, signal.SIGQUIT)
        await asyncio.to_thread(self._cluster.wait_for_postgresql)

    async def hang_postgresql(self) -> None:
        await self._hang(self._cluster.postgresql, self._dice.uniform(1, 3))

    async def _replace(self, program: Program, how: signal.Signals) -> None:
        program.signal(how)
        await asyncio.to_thread(program.wait, 45)
        await asyncio.sleep(self._dice.uniform(0, 2))
        program.start()

    async def _hang(self, program: Program, seconds: float) -> None:
        program.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        program.signal(signal.SIGCONT)


def is_beginning(text: str) -> bool:
    """Of what the model says: nothing is lost before its last word, and nothing said twice."""
    return words(LENGTH).startswith(text)
