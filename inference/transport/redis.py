"""The transport of many processes: queue, leases and token logs in Redis or Valkey, each verb one script.

Every process has a few connections, whatever it serves: a pool for short questions, one subscription for
its readers (``redis_readers``) and, in a worker, one for news (``redis_news``). All of them come back by
themselves. The keys are described in docs/protocol.md.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..messages import Claim, Event, Job, Position, Renewal, Stats, Text, Waiting, WorkerReport
from ..wire import decode_job, decode_report, encode_job, encode_report
from .marks import Mark, News
from .redis_line import Line, place
from .redis_news import Subscription
from .redis_readers import Readers, read_entries, read_log
from .redis_scripts import Scripts, Settings
from .redis_tape import Events, Tape, ends, events_text, new_flush, run_text, tape_text


class RedisTransport:
    """See ``base.Transport``. ``settings`` as in ``redis_scripts.Settings``; places in line are ``line_age``
    seconds old at most, so that a thousand waiting people ask the server once.
    """

    def __init__(self, url: str, *, line_age: float = 0.5, **settings: Any) -> None:
        self._settings = Settings(url, **settings)
        self._scripts = Scripts(self._settings)
        self._news = Subscription(self._settings)
        self._line = Line(self._scripts, line_age)
        self._readers: WeakKeyDictionary[asyncio.AbstractEventLoop, Readers] = WeakKeyDictionary()
        self._claim_numbers: dict[str, str] = {}
        self._memories: dict[str, bytes] = {}
        self._tapes: defaultdict[str, Tape] = defaultdict(Tape)  # by worker

    def close(self) -> None:
        """End the threads and connections of this process."""
        self._news.close()
        self._scripts.close()

    # For whoever asks

    def submit(self, job: Job) -> None:
        self._scripts.run("submit", *_job_fields(job))

    def cancel(self, generation: str) -> None:
        self._scripts.run("cancel", generation)

    def position(self, generation: str) -> Position | None:
        return self._line.position(generation)

    def line(self, output_tokens: float = 0.0, also: Job | None = None) -> list[Waiting]:
        return self._line.read(output_tokens, also)

    def stats(self) -> Stats:
        reports, waiting, running, since, hits, misses = self._scripts.run("stats", self._settings.heartbeat)
        workers = tuple(decode_report(report) for report in reports)
        return Stats(workers, waiting, running, since=float(since), sticky_hits=hits, sticky_misses=misses)

    # For whoever reads

    def log(self, generation: str, after_seq: int = 0) -> list[Event]:
        return read_log(generation, after_seq, self._scripts.run("log", generation, after_seq, ""))[0]

    def follow(self, generation: str, after_seq: int = 0) -> AsyncIterator[list[Event]]:
        loop = asyncio.get_running_loop()
        if loop not in self._readers:
            self._readers[loop] = Readers(self._settings)
        return self._readers[loop].follow(generation, after_seq)

    def release(self, generation: str) -> None:
        self._scripts.run("release", generation)

    def live(self) -> frozenset[str]:
        return _names(self._scripts.run("live"))

    def unreleased(self) -> frozenset[str]:
        return _names(self._scripts.run("unreleased"))

    # For a worker

    def claim(
        self, worker: str, free_slots: int, free_kv_tokens: int, wait: float = 0.0, spare: int = 0
    ) -> list[Claim]:
        until = time.monotonic() + wait
        while True:
            mark = self._news.mark(worker) if wait else Mark()
            claims, kept = self._claim_now(worker, free_slots, free_kv_tokens, spare)
            left = until - time.monotonic()
            if claims or left <= 0 or free_slots <= 0:
                return claims
            self._news.wait(worker, mark, left if kept is None else min(left, kept))

    def _claim_now(self, worker: str, slots: int, kv_tokens: int, spare: int) -> tuple[list[Claim], float | None]:
        """Claims, and the seconds after which a job kept for another worker is anybody's."""
        number = self._claim_numbers.setdefault(worker, uuid.uuid4().hex)
        kept, *found = self._scripts.run("claim", worker, number, slots, kv_tokens, spare)
        # Only now: had the answer been lost, the same number would bring the same claims again.
        self._claim_numbers[worker] = uuid.uuid4().hex
        claims = [_read_claim(*claim) for claim in found]
        self._tapes[worker].hold(claim.job for claim in claims)
        return claims, float(kept) if kept else None

    def publish(self, worker: str, events: Mapping[str, Sequence[Event]]) -> frozenset[str]:
        tape = self._tapes[worker]
        recorded, looked_at = tape.sort(events)
        answer = self._publish(worker, tape, recorded, looked_at)
        if answer is None:
            tape.doubt()
            answer = self._publish(worker, tape, {}, events)
        return _names(answer or ())

    def _publish(self, worker: str, tape: Tape, recorded: Events, looked_at: Events) -> list[bytes] | None:
        """The ids of what was refused; None where the tape does not go on, and nothing was done."""
        flush, runs = new_flush(), [run_text(name, run) for name, run in looked_at.items()]
        try:
            refused: list[bytes] | None = self._scripts.run(
                "publish", worker, tape.flush, flush, tape_text(recorded), tape.costs(recorded), *runs
            )
        except BaseException:
            tape.doubt()  # it may have been done
            raise
        if refused is not None:
            tape.taken(flush, {**recorded, **looked_at}, _names(refused))
        return refused

    def restore(self, worker: str, claim: Claim, events: Sequence[Event]) -> bool:
        log = [ends(events), events_text(events)]
        self._tapes[worker].hold([claim.job])
        return bool(self._scripts.run("restore", worker, claim.attempt, *log, *_job_fields(claim.job)))

    def renew(self, worker: str, report: WorkerReport | None = None) -> Renewal:
        told = ("", "") if report is None else (f"{report.kind}:{report.model}", encode_report(report))
        cancelled, lost, memory = self._scripts.run("renew", worker, *told)
        before = self._memories.get(worker, memory)
        self._memories[worker] = memory
        self._tapes[worker].drop(_names(lost))
        return Renewal(_names(cancelled), _names(lost), forgotten=before != memory)

    def news(self, worker: str) -> News:
        return self._news.changed(worker)

    def hand_back(self, worker: str, generations: Collection[str]) -> None:
        self._scripts.run("hand_back", worker, *generations)
        self._tapes[worker].drop(generations)


def _job_fields(job: Job) -> list[Any]:
    """As ``write_job`` of lua/common.lua reads them."""
    lane = f"{job.band}:{job.kind}:{job.model}"
    fields = [job.tenant, lane, repr(job.weight), repr(job.submitted_at), job.conversation, place(job)]
    return [job.id, encode_job(job), *fields]


def _read_claim(job: bytes, attempt: int, counter: bytes, entries: list[bytes]) -> Claim:
    events = read_entries(entries)
    written = [event for event in events if isinstance(event, Text)]
    return Claim(
        decode_job(job),
        token_ids=tuple(token for event in written for token in event.token_ids),
        next_seq=len(events) + 1,
        attempt=attempt,
        counter=float(counter),
        text="".join(event.text for event in written),
        tokens=sum(event.tokens for event in written),
        log=tuple(events),
    )


def _names(raw: Sequence[bytes]) -> frozenset[str]:
    return frozenset(name.decode() for name in raw)
