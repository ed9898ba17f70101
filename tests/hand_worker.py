"""A worker moved by hand: it claims and publishes exactly what a test says, through the real transport."""

from __future__ import annotations

from dataclasses import dataclass, field

from inference.messages import Choice, Ended, Job, Started, Text
from inference.transport import MemoryTransport


@dataclass
class HandWorker:
    """``take`` a job, then ``write`` its answer piece by piece and ``end`` it."""

    transport: MemoryTransport
    name: str = "w1"
    jobs: dict[str, Job] = field(default_factory=dict)
    _seq: dict[str, int] = field(default_factory=dict)
    _tokens: dict[str, int] = field(default_factory=dict)

    def take(self) -> Job:
        (claim,) = self.transport.claim(self.name, 1, 1_000_000)
        self.jobs[claim.job.id] = claim.job
        self._seq[claim.job.id] = claim.next_seq - 1
        self._tokens[claim.job.id] = 0
        return claim.job

    def start(self, job: Job, prompt_tokens: int = 10, dropped: int = 0) -> None:
        self._publish(
            job,
            Started(
                self._next(job),
                self.name,
                "test",
                "r1",
                prompt_tokens,
                dropped_messages=dropped,
                seed=7,
                sampling={"top_k": 1},
                at=job.submitted_at + 0.25,
            ),
        )

    def write(self, job: Job, *pieces: str, choices: tuple[Choice, ...] = ()) -> None:
        for piece in pieces:
            self._tokens[job.id] += 1
            self._publish(job, Text(self._next(job), piece, (self._tokens[job.id],), choices=choices))

    def think(self, job: Job, thought: str) -> None:
        self._tokens[job.id] += 1
        self._publish(job, Text(self._next(job), "", (self._tokens[job.id],), thought=thought))

    def end(self, job: Job, reason: str = "stop", **fields) -> None:
        event = Ended(self._next(job), reason, self._tokens[job.id], prefill_seconds=0.01, decode_seconds=0.5, **fields)
        self._publish(job, event)

    def answer(self, *pieces: str, reason: str = "stop") -> Job:
        """All of it at once."""
        job = self.take()
        self.start(job)
        self.write(job, *pieces)
        self.end(job, reason)
        return job

    def _next(self, job: Job) -> int:
        self._seq[job.id] += 1
        return self._seq[job.id]

    def _publish(self, job: Job, event) -> None:
        self.transport.publish(self.name, {job.id: [event]})
