"""What a worker keeps of its jobs in order to tell it again: a transport may restart without its memory.

A log is kept until its job has ended and a little longer, for the end may not be in the database yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .messages import Claim, Ended, Event

KEEP_SECONDS = 60.0  # after the end


@dataclass(slots=True)
class Held:
    """A job of this worker, and its whole log, that of earlier workers included."""

    claim: Claim
    log: list[Event] = field(default_factory=list)
    ended_at: float | None = None

    def write(self, events: Iterable[Event], now: float) -> None:
        """Those that are not there yet."""
        last = self.log[-1].seq if self.log else 0
        self.log += [event for event in events if event.seq > last]
        if self.log and isinstance(self.log[-1], Ended) and self.ended_at is None:
            self.ended_at = now


class HeldJobs:
    """By generation. Used in one thread; ``clock`` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._jobs: dict[str, Held] = {}

    def __contains__(self, generation: str) -> bool:
        return generation in self._jobs

    def begin(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._jobs[claim.job.id] = Held(claim, list(claim.log))

    def write(self, events: Mapping[str, Iterable[Event]]) -> None:
        now = self._clock()
        for generation in events.keys() & self._jobs.keys():
            self._jobs[generation].write(events[generation], now)
        old = now - KEEP_SECONDS
        for generation in [name for name, job in self._jobs.items() if job.ended_at is not None and job.ended_at < old]:
            del self._jobs[generation]

    def forget(self, generations: Iterable[str]) -> None:
        """They are another worker's now."""
        for generation in generations:
            self._jobs.pop(generation, None)

    def read(self, generation: str) -> Held | None:
        return self._jobs.get(generation)

    def names(self) -> set[str]:
        return set(self._jobs)
