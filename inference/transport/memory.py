"""The transport of one process: a fair queue and token logs under one lock.

Worker threads publish; asyncio readers are woken in their own loops. With a ``Journal`` the logs
survive a kill of the process: what was written is found again as an interrupted answer.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import UnknownGeneration
from ..fairness import FairQueue
from ..messages import Claim, Ended, Event, Job, Position, Renewal, Sampling, Stats, Text, Waiting, WorkerReport
from .journal import Journal

JOURNAL_BYTES = 4_000_000  # from here on the journal is rewritten without what is in the database

Reader = tuple[asyncio.AbstractEventLoop, asyncio.Event]


@dataclass(slots=True)
class _Log:
    """One job and its events. ``holder`` is the worker whose lease runs until ``lease_ends``."""

    job: Job
    events: list[Event] = field(default_factory=list)
    holder: str = ""
    lease_ends: float = 0.0
    attempts: int = 0
    cancelled: bool = False
    ended_at: float | None = None
    readers: set[Reader] = field(default_factory=set)

    def after(self, seq: int) -> list[Event]:
        return self.events[seq:]  # seq n stands at index n - 1


class MemoryTransport:
    """See ``base.Transport``. ``lease``, ``heartbeat`` and ``retention`` are seconds."""

    def __init__(
        self,
        *,
        lease: float = 15.0,
        heartbeat: float = 10.0,
        retention: float = 60.0,
        max_attempts: int = 2,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lease, self._heartbeat, self._retention = lease, heartbeat, retention
        self._max_attempts, self._journal, self._clock = max_attempts, journal, clock
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._queue = FairQueue()
        self._logs: dict[str, _Log] = {}
        self._held: dict[str, set[str]] = {}
        self._reports: dict[str, WorkerReport] = {}
        self._lost: dict[str, set[str]] = {}
        self._unreleased: set[str] = set()
        self._journal_limit = JOURNAL_BYTES
        if journal is not None:
            self._recover(journal)

    # For whoever asks

    def submit(self, job: Job) -> None:
        with self._work:
            if job.id in self._logs:
                return
            self._prune()
            self._logs[job.id] = _Log(job)
            self._unreleased.add(job.id)
            self._queue.push(job)
            self._work.notify()

    def cancel(self, generation: str) -> None:
        with self._lock:
            log = self._logs.get(generation)
            if log is None or log.ended_at is not None:
                return
            log.cancelled = True
            if self._queue.remove(generation) is not None:
                self._end_unheld(log, Ended(len(log.events) + 1, "cancelled", at=self._clock()))

    def position(self, generation: str) -> Position | None:
        with self._lock:
            place = self._queue.place(generation)
            return None if place is None else Position(place, len(self._queue))

    def line(self, output_tokens: float = 0.0, also: Job | None = None) -> list[Waiting]:
        with self._lock:
            return self._queue.line(output_tokens, also)

    def stats(self) -> Stats:
        with self._lock:
            alive = self._clock() - self._heartbeat
            workers = tuple(report for report in self._reports.values() if report.at >= alive)
            return Stats(workers, len(self._queue), sum(len(jobs) for jobs in self._held.values()))

    # For whoever reads

    def log(self, generation: str, after_seq: int = 0) -> list[Event]:
        with self._lock:
            return self._known(generation).after(after_seq)

    async def follow(self, generation: str, after_seq: int = 0) -> AsyncIterator[list[Event]]:
        reader = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            log = self._known(generation)
            log.readers.add(reader)
        try:
            async for events in self._read(log, reader[1], after_seq):
                yield events
        finally:
            with self._lock:
                log.readers.discard(reader)

    async def _read(self, log: _Log, woken: asyncio.Event, seq: int) -> AsyncIterator[list[Event]]:
        while True:
            woken.clear()
            with self._lock:
                events = log.after(seq)
            if events:
                yield events
                seq = events[-1].seq
                if isinstance(events[-1], Ended):
                    return
            elif log.ended_at is not None:
                return
            else:
                await woken.wait()

    def bury(self, worker: str) -> None:
        """The worker's process has ended, and whoever started it knows: its leases are over now."""
        with self._work:
            self._reports.pop(worker, None)
            for generation in self._held.pop(worker, set()):
                self._hand_over(self._logs[generation])
            self._work.notify_all()

    def unreleased(self) -> frozenset[str]:
        """Generations with a log that nobody has said is in the database; after a start, those recovered."""
        with self._lock:
            return frozenset(self._unreleased)

    def release(self, generation: str) -> None:
        with self._lock:
            self._unreleased.discard(generation)
            if self._journal is not None:
                self._trim(self._journal)

    # For a worker

    def claim(self, worker: str, free_slots: int, free_kv_tokens: int, wait: float = 0.0) -> list[Claim]:
        with self._work:
            claims = self._claim_now(worker, free_slots, free_kv_tokens)
            if not claims and wait > 0 and free_slots > 0:
                self._work.wait(wait)
                claims = self._claim_now(worker, free_slots, free_kv_tokens)
            return claims

    def publish(self, worker: str, events: Mapping[str, Sequence[Event]]) -> frozenset[str]:
        with self._lock:
            woken: list[Reader] = []
            taken: dict[str, Sequence[Event]] = {}
            for generation in events.keys() & self._held.get(worker, set()):
                log = self._logs[generation]
                taken[generation] = [event for event in events[generation] if event.seq > len(log.events)]
                woken.extend(self._append(log, taken[generation]))
            if self._journal is not None:
                self._journal.append(taken)
        _wake(woken)
        return frozenset(events.keys() - taken.keys())

    def restore(self, worker: str, claim: Claim, events: Sequence[Event]) -> bool:
        """This one forgets nothing: a job that the worker does not hold is lost."""
        with self._lock:
            return claim.job.id in self._held.get(worker, set())

    def renew(self, worker: str, report: WorkerReport | None = None) -> Renewal:
        with self._lock:
            if report is not None:
                self._reports[worker] = report
            held = self._held.get(worker, set())
            for generation in held:
                self._logs[generation].lease_ends = self._clock() + self._lease
            cancelled = frozenset(generation for generation in held if self._logs[generation].cancelled)
            return Renewal(cancelled, lost=frozenset(self._lost.pop(worker, ())))

    def news(self, worker: str) -> bool:
        return True

    def hand_back(self, worker: str, generations: Collection[str]) -> None:
        with self._work:
            held = self._held.get(worker, set())
            for generation in held & set(generations):
                held.discard(generation)
                self._logs[generation].attempts -= 1
                self._hand_over(self._logs[generation])
            self._work.notify_all()

    # Inside the lock

    def _known(self, generation: str) -> _Log:
        log = self._logs.get(generation)
        if log is None:
            raise UnknownGeneration(generation)
        return log

    def _claim_now(self, worker: str, slots: int, kv_tokens: int) -> list[Claim]:
        self._expire_leases()
        claims: list[Claim] = []
        while len(claims) < slots:
            # A worker that holds nothing takes any job: what can never fit, its engine refuses by name.
            room = kv_tokens if self._held.get(worker) else math.inf
            job = self._queue.pop(room)
            if job is None:
                break
            kv_tokens -= job.prompt_tokens
            claims.append(self._lend(worker, self._logs[job.id]))
        return claims

    def _lend(self, worker: str, log: _Log) -> Claim:
        log.holder, log.lease_ends = worker, self._clock() + self._lease
        log.attempts += 1
        self._held.setdefault(worker, set()).add(log.job.id)
        written = [event for event in log.events if isinstance(event, Text)]
        return Claim(
            log.job,
            token_ids=tuple(token for event in written for token in event.token_ids),
            next_seq=len(log.events) + 1,
            attempt=log.attempts,
            counter=self._queue.served,
            text="".join(event.text for event in written),
            tokens=log_tokens(written),
            log=tuple(log.events),
        )

    def _expire_leases(self) -> None:
        now = self._clock()
        for worker, held in self._held.items():
            for generation in [g for g in held if self._logs[g].lease_ends < now]:
                held.discard(generation)
                self._lost.setdefault(worker, set()).add(generation)
                self._hand_over(self._logs[generation])

    def _hand_over(self, log: _Log) -> None:
        """A worker is gone: back to the head of the line, or failed when the job took too many with it."""
        log.holder = ""
        seq, now = len(log.events) + 1, self._clock()
        if log.cancelled:
            self._end_unheld(log, Ended(seq, "cancelled", log_tokens(log.events), at=now))
        elif log.attempts < self._max_attempts:
            self._queue.push(log.job, first=True)
        else:
            message = "The model stopped twice while writing this answer."
            self._end_unheld(
                log,
                Ended(
                    seq,
                    "failed",
                    log_tokens(log.events),
                    error_code="worker_lost",
                    error_message=message,
                    at=now,
                ),
            )

    def _end_unheld(self, log: _Log, event: Ended) -> None:
        """End a job no worker holds."""
        woken = self._append(log, [event])
        if self._journal is not None:
            self._journal.append({log.job.id: [event]})
        _wake(woken)

    def _append(self, log: _Log, events: Sequence[Event]) -> set[Reader]:
        for event in events:
            log.events.append(event)
            if isinstance(event, Text):
                self._queue.charge(log.job, output_tokens=event.tokens)
            elif isinstance(event, Ended):
                log.ended_at = self._clock()
                self._held.get(log.holder, set()).discard(log.job.id)
        return log.readers

    def _trim(self, journal: Journal) -> None:
        """Drop what is in the database: when nothing else is left, or the file has grown."""
        if journal.size and (not self._unreleased or journal.size > self._journal_limit):
            kept = {generation: self._logs[generation].events for generation in self._unreleased}
            journal.rewrite(kept)
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
            log = _Log(Job(generation, "", "", (), Sampling(max_tokens=0), 0))
            self._logs[generation] = log
            self._unreleased.add(generation)
            self._append(log, events)
            if log.ended_at is None:
                self._end_unheld(log, Ended(len(events) + 1, "interrupted", log_tokens(events), at=self._clock()))
        journal.rewrite({generation: log.events for generation, log in self._logs.items()})


def log_tokens(events: Sequence[Event]) -> int:
    """Answer tokens in a log so far."""
    return sum(event.tokens for event in events if isinstance(event, Text))


def _wake(readers: Sequence[Reader] | set[Reader]) -> None:
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
