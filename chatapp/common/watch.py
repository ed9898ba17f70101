"""What a whole process looks at every few seconds for as long as one of its sockets listens."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Generic, TypeVar

import structlog

logger = structlog.get_logger(__name__)

L = TypeVar("L")
V = TypeVar("V")


class Watch(ABC, Generic[L, V]):
    """A loop that begins with the first listener and ends with the last. A look that fails is logged, and the next
    comes as if it had not: what is watched may be away for a while.
    """

    def __init__(self) -> None:
        self._listeners: dict[L, V] = {}
        self._task: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Future[None]] = set()
        self._failing = False

    def listen(self, listener: L, about: V) -> None:
        self._listeners[listener] = about
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._go_on())

    def remove(self, listener: L) -> None:
        self._listeners.pop(listener, None)

    @abstractmethod
    def seconds(self) -> float:
        """Until the next look."""

    @abstractmethod
    async def look(self) -> None:
        """Look once, and ``_start`` to tell the listeners."""

    def _start(self, telling: Awaitable[None]) -> None:
        """Not waited for: a socket that has stopped reading takes its time, and the others are told."""
        task = asyncio.ensure_future(telling)
        self._telling.add(task)
        task.add_done_callback(self._told)

    def _told(self, task: asyncio.Future[None]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.warning("watch.not_told", watch=type(self).__name__, error=repr(error))

    async def _go_on(self) -> None:
        while self._listeners:
            await asyncio.sleep(self.seconds())
            await self.look_safely()

    async def look_safely(self) -> None:
        try:
            await self.look()
            self._failing = False
        except Exception:
            if not self._failing:  # once for each outage
                logger.exception("watch.failed", watch=type(self).__name__)
            self._failing = True
