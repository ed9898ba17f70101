"""Tells every open page what the model does. One look at the transport per process, not per socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from chatapp.queue.model_status import model_json, read_stats

Listener = Callable[[dict[str, Any]], Awaitable[None]]
LOADING_SECONDS, READY_SECONDS = 0.5, 3.0


class ModelWatch:
    """Calls its listeners with the ``model`` of docs/protocol.md whenever it changes."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self.model: dict[str, Any] = {}

    async def add(self, listener: Listener) -> dict[str, Any]:
        """Start to tell ``listener``; returns the model as it is now."""
        self.model = model_json(await asyncio.to_thread(read_stats))
        self._listeners.add(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        return self.model

    def remove(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    async def _watch(self) -> None:
        while self._listeners:
            await asyncio.sleep(READY_SECONDS if self.model["state"] == "ready" else LOADING_SECONDS)
            model = model_json(await asyncio.to_thread(read_stats))
            if model != self.model:
                self.model = model
                await asyncio.gather(*(listener(model) for listener in self._listeners), return_exceptions=True)


watch = ModelWatch()
