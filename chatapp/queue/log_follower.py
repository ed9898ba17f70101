"""The one way to read an answer while it is written: through silences, outages and a transport that lost its memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from inference.errors import InferenceError, LogExpired, TransportUnavailable, UnknownGeneration
from inference.messages import Ended, Event, Started

from .transport import get_transport

RETRY_SECONDS = 1.0  # until the transport is back, or the sweep has found a lost generation again


class LogFollower:
    """Follows the log of ``generation`` from the event after ``after_seq`` to its end, each event once.

    ``silence``: seconds without an event after which an empty batch comes; None waits for ever. While the log cannot
    be read, ``trouble`` says why and ``failing_seconds`` for how long.
    """

    def __init__(self, generation: str, after_seq: int = 0, *, silence: float | None = None) -> None:
        self.generation, self.seq, self.silence = generation, after_seq, silence
        self.started: Started | None = None
        self.ended: Ended | None = None
        self.trouble: InferenceError | None = None
        self._failing_since = 0.0
        self._pause: asyncio.Timeout | None = None

    @property
    def failing_seconds(self) -> float:
        return time.monotonic() - self._failing_since if self.trouble else 0.0

    async def batches(self) -> AsyncIterator[Sequence[Event]]:
        """Events as they come; the last batch ends with ``Ended``.

        An empty one says that nothing came for ``silence``, that the connection was lost in between
        (``Transport.follow``), or, with ``trouble`` set, that the log could not be read a moment ago. Whoever does
        not want to wait any longer leaves.
        """
        events = self._follow()
        try:
            while self.ended is None:
                batch: Sequence[Event] = ()
                try:
                    batch = await self._next(events)
                except TimeoutError:
                    events = self._follow()
                except (TransportUnavailable, UnknownGeneration, LogExpired) as error:
                    self._note_trouble(error)
                    await asyncio.sleep(RETRY_SECONDS)
                    events = self._follow()
                except StopAsyncIteration:
                    return  # it was followed from its end on
                if batch:
                    self._note(batch)
                yield batch
        finally:
            await events.aclose()  # type: ignore[attr-defined]  # every transport's is a generator

    def look_up(self) -> None:
        """An empty batch comes at once to a reader that waits with a ``silence``."""
        if self._pause is not None and not self._pause.expired():
            self._pause.reschedule(asyncio.get_running_loop().time())

    async def _next(self, events: AsyncIterator[list[Event]]) -> Sequence[Event]:
        if self.silence is None:  # a timer for each batch is not for free
            return await anext(events)
        async with asyncio.timeout(self.silence) as pause:
            self._pause = pause
            try:
                return await anext(events)
            finally:
                self._pause = None

    def _follow(self) -> AsyncIterator[list[Event]]:
        return get_transport().follow(self.generation, self.seq)

    def _note_trouble(self, error: InferenceError) -> None:
        if self.trouble is None:
            self._failing_since = time.monotonic()
        self.trouble = error

    def _note(self, batch: Sequence[Event]) -> None:
        self.seq, self.trouble = batch[-1].seq, None
        self.started = next((event for event in reversed(batch) if isinstance(event, Started)), self.started)
        self.ended = batch[-1] if isinstance(batch[-1], Ended) else None
