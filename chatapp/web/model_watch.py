"""Tells every open page what the model does. One look at the transport per process, not per socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from chatapp.common.watch import Watch
from chatapp.queue.model_status import model_json, read_stats
from inference.messages import Stats

Listener = Callable[[dict[str, Any]], Awaitable[None]]
LOADING_SECONDS, READY_SECONDS = 0.5, 3.0


class ModelWatch(Watch[Listener, None]):
    """Calls its listeners with the ``model`` of docs/protocol.md whenever it changes."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model_json(Stats())

    async def add(self, listener: Listener) -> dict[str, Any]:
        """Start to tell ``listener``; returns the model as it is now, as far as that can be told."""
        await self.look_safely()
        self.listen(listener, None)
        return self.model

    def seconds(self) -> float:
        return READY_SECONDS if self.model["state"] == "ready" else LOADING_SECONDS

    async def look(self) -> None:
        model = model_json(await asyncio.to_thread(read_stats))
        if model != self.model:
            self.model = model
            for listener in self._listeners:
                self._start(listener(model))


watch = ModelWatch()
