"""Who waits in Redis, in the order in which they will go: the queue is read whole, and ordered here.

The server would be busy for everybody while it ordered; a process asks for the line at most once in a
while, however many people look at their place in it.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from ..line.fairness import FairQueue, places
from ..messages import Job, Position, Sampling, Waiting
from .redis_scripts import Scripts


class Line:
    """``age`` is how many seconds old the places told may be."""

    def __init__(self, scripts: Scripts, age: float) -> None:
        self._scripts, self._age = scripts, age
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._queue = FairQueue()
        self._places: dict[str, Position] = {}

    def position(self, generation: str) -> Position | None:
        with self._lock:
            self._refresh()
            if not self._places:
                self._places = places(self._queue.line())
            return self._places.get(generation)

    def read(self, output_tokens: float, also: Job | None) -> list[Waiting]:
        with self._lock:
            self._refresh("" if also is None else also.tenant)
            return self._queue.line(output_tokens, also)

    def _refresh(self, tenant: str = "") -> None:
        """Read the queue when it is too old, or without the counter of a tenant that is not waiting."""
        now = time.monotonic()
        if now - self._read_at >= self._age or (tenant and not self._queue.counter(tenant)):
            self._queue, self._places, self._read_at = _read(self._scripts.run("waiting", tenant), tenant), {}, now


def place(job: Job) -> str:
    """A job in its tenant's line, as lua/common.lua reads it."""
    return f"{job.id} {job.prompt_tokens} {job.weight!r} {job.submitted_at!r} {job.sampling.max_tokens}"


def _read(answer: list[Any], tenant: str) -> FairQueue:
    served, counter, *lines = answer
    queue = FairQueue()
    counters = {tenant: float(counter)} if tenant else {}
    jobs = []
    for lane, name, total, texts in lines:
        band, kind, model = lane.decode().split(":", 2)
        counters[name.decode()] = float(total)
        jobs += [_job(text.decode(), name.decode(), int(band), kind, model) for text in texts]
    queue.restore(jobs, counters, float(served))
    return queue


def _job(text: str, tenant: str, band: int, kind: Any, model: str) -> Job:
    """As much of a waiting job as its place tells."""
    name, prompt, weight, at, most = text.split(" ")
    return Job(
        name,
        tenant,
        model,
        (),
        Sampling(int(most)),
        int(prompt),
        weight=float(weight),
        band=band,
        submitted_at=float(at),
        kind=kind,
    )
