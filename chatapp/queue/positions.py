"""Where everyone stands in line and how long that will take. One look a second for all who wait in a process."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import asdict, dataclass
from typing import Any

from chatapp.queue.transport import get_transport
from inference.errors import TransportUnavailable
from inference.line.fairness import places
from inference.line.forecast import Forecast, expected_output
from inference.messages import ANSWER

LOOK_SECONDS = 1.0
STEPS = (1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 2700, 3600)


@dataclass(frozen=True, slots=True)
class Place:
    """``wait`` is in seconds, None when nobody can tell; one of ``STEPS``, so that it does not change at every look."""

    place: int
    waiting: int
    wait: int | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_places(forecast: Forecast) -> dict[str, Place]:
    """The place by generation of everyone who waits for an answer; empty while the transport cannot be reached."""
    try:
        workers = [worker for worker in get_transport().stats().workers if worker.kind == ANSWER]
        line = [job for job in get_transport().line(expected_output(workers)) if job.kind == ANSWER]
    except TransportUnavailable:
        return {}
    waits = forecast.observe(line, workers, time.monotonic())
    found = places(line)
    return {
        job.id: Place(found[job.id].place, found[job.id].waiting, _rounded(wait))
        for job, wait in zip(line, waits, strict=True)
    }


def _rounded(seconds: float | None) -> int | None:
    if seconds is None:
        return None
    return min(STEPS, key=lambda step: abs(math.log(step / max(1.0, seconds))))


class LineWatch:
    """The places as of a second ago at most."""

    def __init__(self) -> None:
        self.forecast = Forecast()
        self._places: dict[str, Place] = {}
        self._looked = -math.inf

    async def place(self, generation: str) -> Place | None:
        """None for a job that does not wait, or that the last look did not see yet."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()  # before the look: whoever asks meanwhile does not look, too
            self._places = await asyncio.to_thread(read_places, self.forecast)
        return self._places.get(generation)


line_watch = LineWatch()
