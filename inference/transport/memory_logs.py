"""The token logs of the memory transport: events, readers in their own loops, and the journal that outlives a kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import UnknownGeneration
from ..messages import ANSWER, Claim, Ended, EndReason, Event, Job, Sampling, Text
from .journal import Journal

JOURNAL_BYTES = 4_000_000  # from here on the journal is rewritten without what is in the database

Reader = tuple[asyncio.AbstractEventLoop, asyncio.Event]


@dataclass(slots=True)
class Log:
    """One job and its events. ``holder`` is the worker whose lease runs until ``lease_ends``."""

    job: Job
    events: list[Event] = field(default_factory=list)
    holder: str = ""
    lease_ends: float = 0.0
    attempts: int = 0
    cancelled: bool = False
    ended_at: float | None = None
    readers: set[Reader] = field(default_factory=set)

    @property
    def tokens(self) -> int:
        return count_tokens(self.events)

    def after(self, seq: int) -> list[Event]:
        return self.events[seq:]  # seq n stands at index n - 1

    def claim(self, counter: float) -> Claim:
        """The job with what has been written of it; ``counter`` is its tenant's."""
        written = [event for event in self.events if isinstance(event, Text)]
        return Claim(
            self.job,
            token_ids=tuple(token for event in written for token in event.token_ids),
            next_seq=len(self.events) + 1,
            attempt=self.attempts,
            counter=counter,
            text="".join(event.text for event in written),
            tokens=self.tokens,
            log=tuple(self.events),
        )

    def end(self, reason: EndReason, at: float, code: str = "", message: str = "") -> Ended:
        """The last event of a job that no worker ends."""
        seq = len(self.events) + 1
        return Ended(seq, reason, self.tokens, error_code=code, error_message=message, at=at)


class Logs:
    """By generation. ``retention`` is seconds after the end. The transport calls it under its lock."""

    def __init__(self, retention: float, journal: Journal | None, clock: Callable[[], float]) -> None:
        self._retention, self._journal, self._clock = retention, journal, clock
        self._logs: dict[str, Log] = {}
        self._unreleased: set[str] = set()
        self._journal_limit = JOURNAL_BYTES
        if journal is not None:
            self._recover(journal)

    def get(self, generation: str) -> Log | None:
        return self._logs.get(generation)

    def known(self, generation: str) -> Log:
        """Raises ``UnknownGeneration``."""
        log = self._logs.get(generation)
        if log is None:
            raise UnknownGeneration(generation)
        return log

    def open(self, job: Job) -> None:
        self._prune()
        self._logs[job.id] = Log(job)
        self._unreleased.add(job.id)

    def write(self, events: Mapping[str, Sequence[Event]]) -> list[Reader]:
        """Append to known logs. Returns whom to ``wake`` once the lock is free."""
        woken: list[Reader] = []
        for generation, run in events.items():
            log = self._logs[generation]
            self._append(log, run)
            woken.extend(log.readers)
        if self._journal is not None:
            self._journal.append(self._journaled(events))
        return woken

    def live(self) -> frozenset[str]:
        return frozenset(name for name in self._unreleased if self._logs[name].ended_at is None)

    def unreleased(self) -> frozenset[str]:
        return frozenset(name for name in self._unreleased if self._logs[name].ended_at is not None)

    def release(self, generation: str) -> None:
        self._unreleased.discard(generation)
        if self._journal is not None:
            self._trim(self._journal)

    def _append(self, log: Log, events: Iterable[Event]) -> None:
        log.events.extend(events)
        if log.events and isinstance(log.events[-1], Ended):
            log.ended_at = self._clock()

    def _journaled(self, events: Mapping[str, Sequence[Event]]) -> dict[str, Sequence[Event]]:
        """Without embeddings: whoever asked for them does not outlive this process."""
        return {name: run for name, run in events.items() if self._logs[name].job.kind == ANSWER}

    def _trim(self, journal: Journal) -> None:
        """Drop what is in the database: when nothing else is left, or the file has grown."""
        if journal.size and (not self._unreleased or journal.size > self._journal_limit):
            journal.rewrite(self._journaled({name: self._logs[name].events for name in self._unreleased}))
            self._journal_limit = max(JOURNAL_BYTES, 2 * journal.size)

    def _prune(self) -> None:
        """Forget logs whose retention is over and whose answers are in the database."""
        oldest = self._clock() - self._retention
        for generation, log in list(self._logs.items()):
            over = log.ended_at is not None and log.ended_at < oldest
            if over and generation not in self._unreleased and not log.readers:
                del self._logs[generation]

    def _recover(self, journal: Journal) -> None:
        """Logs of a process that was killed: complete ones as they were, others ended as interrupted."""
        for generation, events in journal.read().items():
            log = self._logs[generation] = Log(Job(generation, "", "", (), Sampling(max_tokens=0), 0))
            self._unreleased.add(generation)
            self._append(log, events)
            if log.ended_at is None:
                self._append(log, [log.end("interrupted", self._clock())])
        journal.rewrite({generation: log.events for generation, log in self._logs.items()})


async def read(log: Log, seq: int, woken: asyncio.Event) -> AsyncIterator[list[Event]]:
    """Batches after ``seq`` until the end. Events come before ``ended_at``, so that looking needs no lock."""
    while True:
        woken.clear()
        ended, events = log.ended_at is not None, log.after(seq)
        if events:
            yield events
            seq = events[-1].seq
            if isinstance(events[-1], Ended):
                return
        elif ended:
            return
        else:
            await woken.wait()


def count_tokens(events: Iterable[Event]) -> int:
    """Answer tokens in events."""
    return sum(event.tokens for event in events if isinstance(event, Text))


def wake(readers: Iterable[Reader]) -> None:
    """Set the readers' events, with one call into each loop however many it has."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Event]] = {}
    for loop, event in readers:
        by_loop.setdefault(loop, []).append(event)
    for loop, events in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set_all, events)


def _set_all(events: list[asyncio.Event]) -> None:
    for event in events:
        event.set()
