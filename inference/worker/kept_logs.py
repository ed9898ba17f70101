"""What a worker keeps of its jobs in order to tell it again: a transport may restart without its memory.

A log is kept until the transport has been told of its end and a little longer, for the end may not be in the database
yet: a transport that is away for long, and comes back empty, still gets all of it. What nobody could be told of for an
hour is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..messages import Claim, Ended, Event

KEEP_SECONDS = 60.0  # after the end has been told
UNTOLD_SECONDS = 3600.0  # after an end that was never told


@dataclass(slots=True)
class KeptLog:
    """A job of this worker, and its whole log, that of earlier workers included."""

    claim: Claim
    log: list[Event] = field(default_factory=list)
    ended_at: float | None = None
    end_told_at: float | None = None

    def write(self, events: Iterable[Event]) -> None:
        """Those that are not there yet."""
        last = self.log[-1].seq if self.log else 0
        self.log += [event for event in events if event.seq > last]

    @property
    def has_ended(self) -> bool:
        return bool(self.log) and isinstance(self.log[-1], Ended)

    def is_over(self, now: float) -> bool:
        """Nobody needs it any more."""
        if self.end_told_at is not None:
            return self.end_told_at < now - KEEP_SECONDS
        return self.ended_at is not None and self.ended_at < now - UNTOLD_SECONDS


class KeptLogs:
    """By generation. Used in one thread; ``clock`` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._jobs: dict[str, KeptLog] = {}

    def __contains__(self, generation: str) -> bool:
        return generation in self._jobs

    def begin(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._jobs[claim.job.id] = KeptLog(claim, list(claim.log))

    def write(self, events: Mapping[str, Iterable[Event]]) -> None:
        for generation in events.keys() & self._jobs.keys():
            job = self._jobs[generation]
            job.write(events[generation])
            if job.has_ended and job.ended_at is None:
                job.ended_at = self._clock()

    def told(self, generations: Collection[str]) -> None:
        """The transport has what was written of these."""
        now = self._clock()
        for job in (self._jobs[name] for name in self._jobs.keys() & set(generations)):
            if job.has_ended and job.end_told_at is None:
                job.end_told_at = now

    def prune(self) -> None:
        """Drop what had ended long ago. For after an answer of the transport from which it is seen to know all."""
        now = self._clock()
        for name in [name for name, job in self._jobs.items() if job.is_over(now)]:
            del self._jobs[name]

    def forget(self, generations: Iterable[str]) -> None:
        """They are another worker's now."""
        for generation in generations:
            self._jobs.pop(generation, None)

    def read(self, generation: str) -> KeptLog | None:
        return self._jobs.get(generation)

    def names(self) -> set[str]:
        return set(self._jobs)
