"""Servers as the worker's engine: one asyncio loop in a thread of its own writes all the answers.

The worker's thread asks in every window for what has come for all of them, which the loop then reads with one look
(``sweep``), so that a token costs no more than its parsing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import aiohttp
import uvloop

from ...errors import EngineError
from ...messages import Claim
from ..base import Written
from .answer import Answer
from .outbox import Outbox
from .request import Limits, Totals
from .server import Pool, Server, make_server
from .sweep import Sweep

logger = logging.getLogger(__name__)

TURN_SECONDS = 0.025  # longest wait for a token before the worker looks for cancels again
LOOK_SECONDS = 0.005  # between looks for tokens while none have come
START_SECONDS = 10.0
GONE = "No model server answers."
USER_AGENT = "chatapp"


@dataclass(frozen=True)
class RelayOptions:
    """``urls`` and ``key`` are the operator's, never a user's. Raises ``ValueError`` for a bad URL."""

    urls: tuple[str, ...]
    model: str = ""
    key: str = ""
    slots: int = 16
    context_length: int = 0
    first_token_seconds: float = 60.0
    token_seconds: float = 30.0
    continuation: str = "auto"

    def __post_init__(self) -> None:
        for url in self.urls:
            make_server(url)


class Relay:
    """See ``writers.base.Writer``. The servers have been asked for their health when it is made."""

    def __init__(self, options: RelayOptions) -> None:
        self._options = options
        self._servers: list[Server] = [make_server(url) for url in options.urls]
        self._pool = Pool(self._servers, options.model, options.continuation)
        self._limits = Limits(options.first_token_seconds, options.token_seconds, options.context_length)
        self._totals = Totals()
        self._open: dict[str, tuple[Answer, Outbox]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}  # by outbox; of the loop's thread alone
        self._changed, self._looked = threading.Event(), threading.Event()
        self._sweep = Sweep(self._changed.set)
        self._next_look: asyncio.TimerHandle | None = None
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._session: aiohttp.ClientSession = self._do(self._connect())
        self._do(self._pool.check(self._session))
        self._watch = asyncio.run_coroutine_threadsafe(self._pool.watch(self._session), self._loop)

    @property
    def revision(self) -> str:
        return next((server.revision for server in self._pool.up if server.revision), "")

    @property
    def context_length(self) -> int:
        told = [server.context_length for server in self._servers if server.context_length]
        return self._options.context_length or min(told, default=0)

    @property
    def free_slots(self) -> int:
        return max(0, self._options.slots - len(self._open)) if self._pool.free else 0

    @property
    def free_kv_tokens(self) -> int:
        """The servers keep their own: as much as the free slots could take, and no limit where none is known."""
        return self.free_slots * (self.context_length or 2**24)

    @property
    def busy(self) -> bool:
        return bool(self._open)

    @property
    def trouble(self) -> str:
        return "" if self._pool.up else GONE

    def begin(self, claim: Claim) -> None:
        outbox = Outbox(claim.job.id, self._changed.set)
        answer = Answer(claim, outbox, self._pool, self._limits, self._totals)
        self._open[claim.job.id] = (answer, outbox)
        self._loop.call_soon_threadsafe(self._start, answer, outbox)

    def advance(self, window: float) -> Sequence[Written]:
        if not self._thread.is_alive():
            raise EngineError("the relay has stopped")
        if window:
            time.sleep(window)
        self._changed.clear()
        self._looked.clear()
        self._loop.call_soon_threadsafe(self._look)
        self._looked.wait(TURN_SECONDS)  # whatever else is new: else the look's tokens would always be a window late
        if not any(outbox.is_new for _, outbox in self._open.values()):
            self._changed.wait(TURN_SECONDS)
        written = [outbox.take() for _, outbox in self._open.values() if outbox.is_new]
        for one in written:
            if one.ended or one.returned:
                del self._open[one.generation]
        return written

    def stop(self, generation: str) -> Written | None:
        found = self._open.pop(generation, None)
        if found is None:
            return None
        answer, outbox = found
        self._loop.call_soon_threadsafe(self._cancel, outbox)
        outbox.close()
        return replace(outbox.take(), ended=answer.ended("cancelled"), returned=False)

    def counters(self) -> dict[str, float]:
        figures: dict[str, float] = {"running": len(self._open), "upstreams": len(self._servers)}
        for number, server in enumerate(self._servers, 1):
            figures[f"upstream_{number}_up"] = float(server.is_up)
            figures[f"upstream_{number}_running"] = server.in_flight
            figures[f"upstream_{number}_first_token_seconds"] = server.first_token
        return figures | {"upstreams_up": len(self._pool.up)} | asdict(self._totals)

    def close(self) -> None:
        self._watch.cancel()
        self._do(self._disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()

    # The loop's thread

    async def _connect(self) -> aiohttp.ClientSession:
        headers = {"User-Agent": USER_AGENT, "Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._options.key:
            headers["Authorization"] = f"Bearer {self._options.key}"
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _disconnect(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    def _start(self, answer: Answer, outbox: Outbox) -> None:
        task = self._loop.create_task(self._write(answer, outbox))
        self._tasks[id(outbox)] = task
        task.add_done_callback(lambda _: self._tasks.pop(id(outbox)))

    async def _write(self, answer: Answer, outbox: Outbox) -> None:
        try:
            await answer.write(self._session, self._sweep)
        except Exception:
            # a fault of ours must end the answer, not leave its reader waiting
            logger.exception("job %s could not be relayed", outbox.generation)
            outbox.tell(ended=answer.ended("failed", "upstream_error"))

    def _cancel(self, outbox: Outbox) -> None:
        if task := self._tasks.get(id(outbox)):
            task.cancel()

    def _look(self) -> None:
        """Read what has come; while that is nothing and more may come, again in a moment."""
        if self._next_look:
            self._next_look.cancel()
        found = self._sweep.look()
        self._looked.set()
        is_over = found or not self._sweep.has_bodies
        self._next_look = None if is_over else self._loop.call_later(LOOK_SECONDS, self._look)

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)
