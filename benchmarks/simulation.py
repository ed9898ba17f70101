"""A worker without a model: the production transport, queue, link figures and estimates, on a clock of its own."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.crowd import Crowd, Tenant
from inference.line.fairness import spare_slots
from inference.messages import ChatMessage, Claim, Ended, Event, Job, Sampling, Started, Text, WorkerReport
from inference.transport import MemoryTransport
from inference.worker.throughput import Throughput

STEP, REPORT = 0.05, 0.5  # seconds
MOST_TOKENS = 1024


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class _Answer:
    claim: Claim
    length: int
    seq: int
    written: float = 0.0  # of it, the whole tokens are published


class SimulatedWorker:
    """Writes ``rate(n)`` tokens a second on each of ``n`` answers, and reads ``prefill`` prompt tokens a second.

    ``lengths`` says how long each answer becomes, which nobody else knows.
    """

    def __init__(
        self,
        transport: MemoryTransport,
        clock: Clock,
        lengths: Mapping[str, int],
        *,
        slots: int = 16,
        spare: int = 6,
        rate: Callable[[int], float] = lambda n: 40.0 / (1 + n / 16),
        prefill: float = 4000.0,
    ) -> None:
        self._transport, self._clock, self._lengths = transport, clock, lengths
        self._slots, self._spare, self._rate, self._prefill = slots, spare, rate, prefill
        self._answers: dict[str, _Answer] = {}
        self._pace, self._unread, self._reported = Throughput(clock), 0.0, -math.inf

    def step(self) -> None:
        """One ``STEP`` of the clock, which the caller moves."""
        self._claim()
        reading = min(STEP, self._unread / self._prefill)
        self._unread -= reading * self._prefill
        grown = self._rate(len(self._answers)) * (STEP - reading) if self._answers else 0.0
        for answer in list(self._answers.values()):
            self._write(answer, grown)
        self._report()

    def _claim(self) -> None:
        free = self._slots + self._spare - len(self._answers)
        claims = self._transport.claim("w", free, 1_000_000, spare=self._spare)
        self._pace.began(claims)
        for claim in claims:
            self._unread += claim.job.prompt_tokens
            self._answers[claim.job.id] = _Answer(claim, self._lengths[claim.job.id], claim.next_seq)
            started = Started(claim.next_seq, "w", "m", "r", claim.job.prompt_tokens, at=self._clock())
            self._publish(self._answers[claim.job.id], started)

    def _write(self, answer: _Answer, grown: float) -> None:
        before, answer.written = int(answer.written), min(answer.length, answer.written + grown)
        if new := int(answer.written) - before:
            self._publish(answer, Text(answer.seq, "", tuple(range(new))))
        if answer.written >= answer.length:
            del self._answers[answer.claim.job.id]
            self._publish(answer, Ended(answer.seq, "stop", answer.length))

    def _publish(self, answer: _Answer, event: Event) -> None:
        answer.seq += 1
        self._pace.saw({answer.claim.job.id: [event]})
        self._transport.publish("w", {answer.claim.job.id: [event]})

    def _report(self) -> None:
        report = None
        if self._clock() - self._reported >= REPORT:
            self._reported = self._clock()
            free = max(0, self._slots - len(self._answers))
            report = self._pace.describe(WorkerReport("w", "ready", free_slots=free, at=self._clock()))
        self._transport.renew("w", report)


def simulate(tenants: list[Tenant], seconds: float, *, slots: int = 16, seed: int = 1) -> Crowd:
    """Let ``tenants`` ask for ``seconds``: prompts and answers of lognormal lengths, as people's are."""
    clock, lengths, chance = Clock(), {}, random.Random(seed)
    transport = MemoryTransport(clock=clock)

    def make_job(name: str, tenant: Tenant, now: float) -> Job:
        prompt = min(2000, round(chance.lognormvariate(math.log(120), 0.9)))
        lengths[name] = max(4, min(MOST_TOKENS, round(chance.lognormvariate(math.log(150), 0.8))))
        message, sampling = ChatMessage("user", ""), Sampling(MOST_TOKENS)
        return Job(name, tenant.name, "m", (message,), sampling, prompt, weight=tenant.weight, submitted_at=now)

    crowd = Crowd(transport, tenants, make_job, seed=seed)
    worker = SimulatedWorker(transport, clock, lengths, slots=slots, spare=spare_slots(slots))
    while clock.now < seconds:
        crowd.tick(clock.now)
        clock.now += STEP
        worker.step()
    return crowd
