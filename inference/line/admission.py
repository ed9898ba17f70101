"""Whether a job may join the line, by how long it would wait. No I/O, no threads, no clock: all it needs is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..messages import Job, Waiting, WorkerReport
from .forecast import Forecast

SOONEST_RETRY, LATEST_RETRY = 5, 300  # seconds
REOPEN = 0.7  # of the longest wait: where those who were refused are let in again


def fits(least_tokens: int, workers: Iterable[WorkerReport]) -> bool:
    """Whether a prompt of at least so many tokens can fit any worker's context and KV cache."""
    contexts = [worker.context_length for worker in workers]
    return not contexts or 0 in contexts or least_tokens < max(contexts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``wait`` is expected, in seconds, None when nobody can tell or the line is full, however long it takes;
    ``retry_after`` says when to ask again.
    """

    accepted: bool
    wait: float | None
    retry_after: int = 0


class Admission:
    """Who may join the line. One per process: it remembers whom it has refused.

    A wait over the plan's longest refuses; from then on all are refused until the wait is below ``REOPEN`` of
    it, so that it does not turn at every answer. A wait that others cause is the plan's, and refuses its tenants
    alike; one that a tenant's own waiting jobs cause is the tenant's alone.
    """

    def __init__(self, most_waiting: int, forecast: Forecast) -> None:
        self._most_waiting, self._forecast = most_waiting, forecast
        self._closed: set[str] = set()

    def decide(
        self,
        job: Job,
        plan: str,
        longest_wait: Callable[[], float],
        line: Sequence[Waiting],
        workers: Sequence[WorkerReport],
    ) -> Verdict:
        """``line`` has ``job`` in it where it would stand (``Transport.line(also=job)``). The longest wait is asked
        for only when there is one.
        """
        place = next(place for place, waiting in enumerate(line) if waiting.id == job.id)
        wait = self._forecast.waits(line[: place + 1], workers)[-1]
        if len(line) > self._most_waiting:
            return Verdict(False, None, _retry_after(wait or 0.0, 0.0))
        crowd = any(waiting.tenant == job.tenant for waiting in line if waiting.id != job.id)
        group, longest = f"tenant:{job.tenant}" if crowd else f"plan:{plan}", longest_wait() if wait else 0.0
        if wait is not None and self.refuses(group, wait, longest):
            return Verdict(False, wait, _retry_after(wait, longest))
        return Verdict(True, wait)

    def refuses(self, group: str, wait: float, longest_wait: float) -> bool:
        """Whether ``group`` is shut out, after a look at its wait. Of two with the same wait and history, the one
        with the longer ``longest_wait`` is never refused alone.
        """
        if wait > longest_wait:
            self._closed.add(group)
        elif wait < REOPEN * longest_wait or not wait:
            self._closed.discard(group)
        return group in self._closed


def _retry_after(wait: float, longest_wait: float) -> int:
    """When the wait will have run down, if nobody else comes."""
    return min(LATEST_RETRY, max(SOONEST_RETRY, math.ceil(wait - REOPEN * longest_wait)))
