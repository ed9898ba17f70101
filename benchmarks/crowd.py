"""People who ask, through the production transport, and how long each of them waits.

The clock is whoever calls ``Crowd.tick``: the same crowd stands before a simulated and a real worker.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from inference.line.forecast import Forecast, expected_output
from inference.messages import Ended, Job
from inference.transport import MemoryTransport

LOOK_SECONDS = 1.0  # as a web process does

MakeJob = Callable[[str, "Tenant", float], Job]  # id, tenant, time


@dataclass(frozen=True, slots=True)
class Tenant:
    """Keeps ``at_once`` questions under way from ``begins`` to ``ends``; thinks ``pause`` seconds between them."""

    name: str
    weight: float = 1.0
    at_once: int = 1
    pause: float = 0.0
    begins: float = 0.0
    ends: float = math.inf


@dataclass(slots=True)
class Question:
    """Times in seconds. ``expected`` is the wait it was first told, at ``told``; None if it began before it was."""

    tenant: Tenant
    asked: float
    prompt_tokens: int
    told: float = 0.0
    expected: float | None = None
    started: float | None = None
    ended: float | None = None
    output_tokens: int = 0

    @property
    def wait(self) -> float:
        assert self.started is not None
        return self.started - self.asked


class Crowd:
    """``tick`` hears what has come of the questions, and asks new ones; ``asked`` has every question there was."""

    def __init__(
        self, transport: MemoryTransport, tenants: Sequence[Tenant], make_job: MakeJob, *, seed: int = 1
    ) -> None:
        self._transport, self._make_job, self._random = transport, make_job, random.Random(seed)
        self._seats = [(tenant, seat) for tenant in tenants for seat in range(tenant.at_once)]
        self._next = {seat: seat[0].begins for seat in self._seats}
        self._under_way: dict[tuple[Tenant, int], str] = {}
        self._forecast, self._looked = Forecast(), -math.inf
        self.asked: dict[str, Question] = {}

    def tick(self, now: float) -> None:
        if now - self._looked >= LOOK_SECONDS:
            self._look(now)
        for seat in self._seats:
            if seat in self._under_way:
                self._hear(seat, now)
            elif self._next[seat] <= now < seat[0].ends:
                self._ask(seat, now)

    def begun(self, since: float, tenants: Iterable[Tenant] | None = None) -> list[Question]:
        """What was asked from ``since`` on and has begun."""
        names = None if tenants is None else {tenant.name for tenant in tenants}
        asked = (question for question in self.asked.values() if names is None or question.tenant.name in names)
        return [question for question in asked if question.asked >= since and question.started is not None]

    def _ask(self, seat: tuple[Tenant, int], now: float) -> None:
        name = f"{seat[0].name}-{len(self.asked)}"
        job = self._make_job(name, seat[0], now)
        self._transport.submit(job)
        self._under_way[seat] = name
        self.asked[name] = Question(seat[0], now, job.prompt_tokens)

    def _look(self, now: float) -> None:
        """Tell everyone who waits and was not told before."""
        self._looked, workers = now, self._transport.stats().workers
        line = self._transport.line(expected_output(workers))
        for job, wait in zip(line, self._forecast.observe(line, workers, now), strict=True):
            if wait is not None and self.asked[job.id].expected is None:
                self.asked[job.id].told, self.asked[job.id].expected = now, wait

    def _hear(self, seat: tuple[Tenant, int], now: float) -> None:
        name = self._under_way[seat]
        question, events = self.asked[name], self._transport.log(name)
        if events and question.started is None:
            question.started = now
        if events and isinstance(events[-1], Ended):
            question.ended, question.output_tokens = now, events[-1].output_tokens
            del self._under_way[seat]
            pause = seat[0].pause
            self._next[seat] = now + (self._random.expovariate(1 / pause) if pause else 0.0)
            self._transport.release(name)


def within_factor_two(questions: Sequence[Question]) -> float:
    """Of those who were told a wait, the share for whom it was between half and double of what was left of it.

    Less than a second counts as one: it is told as "about 1 s".
    """
    pairs = [(max(1.0, q.asked + q.wait - q.told), max(1.0, q.expected)) for q in questions if q.expected is not None]
    return sum(0.5 <= told / real <= 2.0 for real, told in pairs) / len(pairs) if pairs else float("nan")


def jain(values: Sequence[float]) -> float:
    """1 when all are equal, 1/n when one has everything (Jain, Chiu and Hawe, 1984)."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))
