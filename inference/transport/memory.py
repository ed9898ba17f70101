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

from ..line.fairness import FairQueue, places
from ..messages import ANSWER, Claim, Ended, Event, Job, Position, Renewal, Stats, Waiting, WorkerReport
from .journal import Journal
from .marks import Mark, Marks, News
from .memory_logs import Log, Logs, Reader, count_tokens, read, wake


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
        self._lease, self._heartbeat = lease, heartbeat
        self._max_attempts, self._clock = max_attempts, clock
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._queue = FairQueue()
        self._logs = Logs(retention, journal, clock)
        self._marks = Marks()
        self._held: dict[str, set[str]] = {}
        self._reports: dict[str, WorkerReport] = {}
        self._lost: dict[str, set[str]] = {}

    # For whoever asks

    def submit(self, job: Job) -> None:
        with self._work:
            if self._logs.get(job.id) is not None:
                return
            self._logs.open(job)
            self._enqueue(job)

    def cancel(self, generation: str) -> None:
        with self._lock:
            log = self._logs.get(generation)
            if log is None or log.ended_at is not None:
                return
            log.cancelled = True
            if self._queue.remove(generation) is not None:
                self._end(log, log.end("cancelled", self._clock()))
            else:
                self._marks.tell(log.holder)

    def position(self, generation: str) -> Position | None:
        with self._lock:
            return places(self._queue.line()).get(generation)

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
            return self._logs.known(generation).after(after_seq)

    async def follow(self, generation: str, after_seq: int = 0) -> AsyncIterator[list[Event]]:
        reader = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            log = self._logs.known(generation)
            log.readers.add(reader)
        try:
            async for events in read(log, after_seq, reader[1]):
                yield events
        finally:
            with self._lock:
                log.readers.discard(reader)

    def unreleased(self) -> frozenset[str]:
        """See ``base.Transport``; after a start, those recovered."""
        with self._lock:
            return self._logs.unreleased()

    def release(self, generation: str) -> None:
        with self._lock:
            log = self._logs.get(generation)
            if log is not None and log.ended_at is None:
                self._drop(log)
            self._logs.release(generation)

    def live(self) -> frozenset[str]:
        with self._lock:
            return self._logs.live()

    # For a worker

    def claim(
        self, worker: str, free_slots: int, free_kv_tokens: int, wait: float = 0.0, spare: int = 0
    ) -> list[Claim]:
        with self._work:
            claims = self._claim_now(worker, free_slots, free_kv_tokens, spare)
            if not claims and wait > 0 and free_slots > 0:
                self._work.wait(wait)
                claims = self._claim_now(worker, free_slots, free_kv_tokens, spare)
            return claims

    def publish(self, worker: str, events: Mapping[str, Sequence[Event]]) -> frozenset[str]:
        with self._lock:
            held = events.keys() & self._held.get(worker, set())
            woken = self._write({generation: self._fresh(generation, events[generation]) for generation in held})
        wake(woken)
        return frozenset(events.keys() - held)

    def restore(self, worker: str, claim: Claim, events: Sequence[Event]) -> bool:
        """This one forgets nothing: a job that the worker does not hold is lost."""
        with self._lock:
            return claim.job.id in self._held.get(worker, set())

    def renew(self, worker: str, report: WorkerReport | None = None) -> Renewal:
        with self._lock:
            if report is not None:
                self._reports[worker] = report
            held = {generation: self._logs.known(generation) for generation in self._held.get(worker, ())}
            for log in held.values():
                log.lease_ends = self._clock() + self._lease
            cancelled = frozenset(generation for generation, log in held.items() if log.cancelled)
            return Renewal(cancelled, lost=frozenset(self._lost.pop(worker, ())))

    def news(self, worker: str) -> News:
        return self._marks.changed(worker)

    def wait_for_news(self, worker: str, mark: Mark, seconds: float) -> Mark:
        """For ``news`` in another process (``local``): the mark once it is another than ``mark``."""
        return self._marks.wait(worker, mark, seconds)

    def hand_back(self, worker: str, generations: Collection[str]) -> None:
        with self._work:
            held = self._held.get(worker, set())
            for generation in held & set(generations):
                held.discard(generation)
                log = self._logs.known(generation)
                log.attempts -= 1
                self._hand_over(log)

    def bury(self, worker: str) -> None:
        """The worker's process has ended, and whoever started it knows: its leases are over now."""
        with self._work:
            self._reports.pop(worker, None)
            for generation in self._held.pop(worker, set()):
                self._hand_over(self._logs.known(generation))

    # Inside the lock

    def _enqueue(self, job: Job, *, first: bool = False) -> None:
        self._queue.push(job, first=first)
        self._marks.tell()
        self._work.notify_all()  # not every worker may take it

    def _claim_now(self, worker: str, slots: int, kv_tokens: int, spare: int) -> list[Claim]:
        self._expire_leases()
        report = self._reports.get(worker)
        kind, model = (report.kind, report.model or None) if report else (ANSWER, None)
        claims: list[Claim] = []
        while len(claims) < slots:
            # A worker that holds nothing takes any job: what can never fit, its engine refuses by name.
            room = kv_tokens if self._held.get(worker) else math.inf
            job = self._queue.pop(room, model, self._running() if slots - len(claims) <= spare else None, kind)
            if job is None:
                break
            kv_tokens -= job.prompt_tokens
            claims.append(self._lend(worker, self._logs.known(job.id)))
        return claims

    def _running(self) -> dict[str, float]:
        """As ``fairness.may_use_spare`` takes it."""
        running: dict[str, float] = {}
        held = (self._logs.known(generation) for generations in self._held.values() for generation in generations)
        for log in (log for log in held if log.job.kind == ANSWER):
            running[log.job.tenant] = running.get(log.job.tenant, 0.0) + 1 / log.job.weight
        return running

    def _lend(self, worker: str, log: Log) -> Claim:
        log.holder, log.lease_ends = worker, self._clock() + self._lease
        log.attempts += 1
        self._held.setdefault(worker, set()).add(log.job.id)
        return log.claim(self._queue.served)

    def _expire_leases(self) -> None:
        now = self._clock()
        for worker, held in self._held.items():
            for log in [log for log in map(self._logs.known, held) if log.lease_ends < now]:
                held.discard(log.job.id)
                self._lost.setdefault(worker, set()).add(log.job.id)
                self._marks.tell(worker)
                self._hand_over(log)

    def _hand_over(self, log: Log) -> None:
        """A worker is gone: back to the head of the line, or failed when the job took too many with it."""
        log.holder = ""
        if log.cancelled:
            self._end(log, log.end("cancelled", self._clock()))
        elif log.attempts < self._max_attempts:
            self._enqueue(log.job, first=True)
        else:
            message = "The model stopped twice while writing this answer."
            self._end(log, log.end("failed", self._clock(), "worker_lost", message))

    def _drop(self, log: Log) -> None:
        """Out of its line, or away from its worker, which is told."""
        if self._queue.remove(log.job.id) is None and log.holder:
            self._held[log.holder].discard(log.job.id)
            self._lost.setdefault(log.holder, set()).add(log.job.id)
            self._marks.tell(log.holder)
        self._end(log, log.end("cancelled", self._clock()))

    def _end(self, log: Log, event: Ended) -> None:
        """End a job no worker holds."""
        wake(self._write({log.job.id: [event]}))

    def _fresh(self, generation: str, events: Sequence[Event]) -> list[Event]:
        known = len(self._logs.known(generation).events)
        return [event for event in events if event.seq > known]

    def _write(self, events: Mapping[str, Sequence[Event]]) -> list[Reader]:
        for generation, run in events.items():
            log = self._logs.known(generation)
            self._queue.charge(log.job, output_tokens=count_tokens(run))
            if run and isinstance(run[-1], Ended):
                self._held.get(log.holder, set()).discard(generation)
        return self._logs.write(events)
