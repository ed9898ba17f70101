"""Who goes next: the virtual token counter, pure. No I/O, no threads, no clock.

Every tenant has a counter of the service it has received, in weighted tokens divided by its plan's
weight: ``(prompt·1 + output·2) / weight``. The waiting tenant with the lowest counter goes first. A
tenant that comes back from idle is lifted to the lowest counter among those waiting, so that idle
time is no credit ("Fairness in Serving Large Language Models", OSDI 2024, algorithm 2). Inside a
tenant the jobs for one model go in order of arrival. A lower band goes only when the band above it is empty.

Who has most under way may hold every slot when others come back. So a worker keeps some spare ones (``spare_slots``),
for which not the next in line but the next that has little under way is taken (``may_use_spare``), as long as that
is one whose turn would have come right after: what counters assure then holds but for one prompt.

A worker takes jobs of its kind and model and those that ask for no model, so that others are not in their way. A
tenant has one counter for all of them.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from ..messages import ANSWER, INTERACTIVE, Job, Kind, Position, Waiting

PROMPT_COST, OUTPUT_COST = 1.0, 2.0
EMBEDDED_COST = 0.05  # of a token that is embedded: an encoder is a small part of a model that answers
TINY = 1e-9  # what sums of shares may differ by

Lane = tuple[Kind, str, str]  # a kind of work, a model, and a tenant whose jobs for it wait in order


class FairQueue:
    """Waiting jobs, and the counters that order them."""

    def __init__(self) -> None:
        self._waiting: dict[int, dict[Lane, deque[Job]]] = {}
        self._counters: dict[str, float] = {}
        self._served = 0.0

    def __len__(self) -> int:
        return sum(len(jobs) for lanes in self._waiting.values() for jobs in lanes.values())

    def __contains__(self, job_id: str) -> bool:
        return any(job.id == job_id for job in self._jobs())

    def counter(self, tenant: str) -> float:
        return self._counters.get(tenant, 0.0)

    @property
    def served(self) -> float:
        """The counter at which the job popped last was served, before it was charged."""
        return self._served

    def restore(self, jobs: Iterable[Job], counters: Mapping[str, float], served: float) -> None:
        """Make this the queue that another was: its jobs, each tenant's in order, its counters and ``served``."""
        for job in jobs:
            self._waiting.setdefault(job.band, {}).setdefault(_lane(job), deque()).append(job)
        self._counters.update(counters)
        self._served = served

    def push(self, job: Job, *, first: bool = False) -> None:
        """Add a job; ``first`` puts one whose worker was lost back at the head of its tenant's line."""
        self._counters[job.tenant] = self._lifted(job.tenant)
        jobs = self._waiting.setdefault(job.band, {}).setdefault(_lane(job), deque())
        (jobs.appendleft if first else jobs.append)(job)

    def pop(
        self,
        room: float = math.inf,
        model: str | None = None,
        running: Mapping[str, float] | None = None,
        kind: Kind = ANSWER,
    ) -> Job | None:
        """The next job for a worker of this kind and ``model`` (None: of any), charged for its prompt; None when
        none waits or its prompt is over ``room`` tokens. With ``running`` (``may_use_spare``) the next job for a spare
        slot.

        A job that does not fit holds the line: smaller ones behind it must not starve it.
        """
        job = next(self._in_order(dict(self._counters), model=model, kind=kind), None)
        if job is not None and running is not None and not may_use_spare(job, running):
            job = self._next_for_spare(job, model, running)
        if job is None or job.prompt_tokens > room:
            return None
        self.remove(job.id)
        self._served = self.counter(job.tenant)
        self.charge(job, prompt_tokens=job.prompt_tokens)
        return job

    def remove(self, job_id: str) -> Job | None:
        """Take a job out of the line, wherever it stands."""
        job = next((job for job in self._jobs() if job.id == job_id), None)
        if job is not None:
            lanes, lane = self._waiting[job.band], _lane(job)
            lanes[lane].remove(job)
            if not lanes[lane]:
                del lanes[lane]
        return job

    def charge(self, job: Job, *, prompt_tokens: int = 0, output_tokens: int = 0) -> None:
        self._counters[job.tenant] = self.counter(job.tenant) + _cost(job, prompt_tokens, output_tokens)

    def line(self, output_tokens: float = 0.0, also: Job | None = None) -> list[Waiting]:
        """All that wait, in the order they would go if each wrote ``output_tokens``, or all it may if that is less.

        ``also`` stands in it where it would if it were pushed now; nothing is changed by it.
        """
        counters = dict(self._counters)
        if also is not None:
            counters[also.tenant] = self._lifted(also.tenant)
        return [
            Waiting(job.id, job.tenant, job.prompt_tokens, job.sampling.max_tokens, job.band, job.model, job.kind)
            for job in self._in_order(counters, output_tokens, also)
        ]

    def _next_for_spare(self, head: Job, model: str | None, running: Mapping[str, float]) -> Job | None:
        """Where a spare slot is not for ``head``: another tenant's job that would go before the next of its own."""
        line = self._in_order(dict(self._counters), model=model, kind=head.kind)
        others = (job for job in line if job.tenant != head.tenant)
        job = next(others, None)
        after = self.counter(head.tenant) + _cost(head, head.prompt_tokens, 0)
        if job is None or self.counter(job.tenant) > after or not may_use_spare(job, running):
            return None
        return job

    def _lifted(self, tenant: str) -> float:
        """The tenant's counter were it to push a job now."""
        waiting = {name for lanes in self._waiting.values() for *_, name in lanes}
        if tenant in waiting:
            return self.counter(tenant)
        # Where nobody waits, whoever was served last is the measure.
        return max(self.counter(tenant), min((self.counter(name) for name in waiting), default=self._served))

    def _in_order(
        self,
        counters: dict[str, float],
        output_tokens: float = 0.0,
        also: Job | None = None,
        model: str | None = None,
        kind: Kind | None = None,
    ) -> Iterator[Job]:
        """Waiting jobs in the order they would go, each charged for its prompt and its output on the way."""
        for band in sorted(self._waiting.keys() | ({also.band} if also else set())):
            lanes = {
                lane: deque(jobs)
                for lane, jobs in self._waiting.get(band, {}).items()
                if kind in (None, lane[0]) and (model is None or lane[1] in (model, ""))
            }
            if also is not None and also.band == band:
                lanes.setdefault(_lane(also), deque()).append(also)
            for job in _merged(lanes, counters):
                yield job
                written = min(output_tokens, job.sampling.max_tokens)
                counters[job.tenant] = counters.get(job.tenant, 0.0) + _cost(job, job.prompt_tokens, written)

    def _jobs(self) -> Iterator[Job]:
        return (job for lanes in self._waiting.values() for jobs in lanes.values() for job in jobs)


def spare_slots(slots: int) -> int:
    """How many a worker of so many keeps beyond them: six for sixteen, none for one."""
    return (3 * slots + 4) // 8


def may_use_spare(job: Job, running: Mapping[str, float]) -> bool:
    """Whether a spare slot is for ``job``.

    ``running``: each tenant's answers under way, divided by its weight. It is for a tenant that has none, or that
    even with one more has no more than another: so never for the one that has most, nor for one that is alone.
    """
    if job.band != INTERACTIVE:
        return False
    own = running.get(job.tenant, 0.0)
    most = max((share for tenant, share in running.items() if tenant != job.tenant), default=0.0)
    return own < TINY or own + 1 / job.weight <= most + TINY


def places(line: Sequence[Waiting]) -> dict[str, Position]:
    """Of each job in ``line``, its place among those that the same workers take: a job that asks for a model is
    behind jobs of that model and jobs that ask for none; one that asks for none is behind everybody of its kind.
    """
    found = {}
    for kind in {job.kind for job in line}:
        found.update(_places([job for job in line if job.kind == kind]))
    return found


def _places(line: Sequence[Waiting]) -> dict[str, Position]:
    """The same, of a line of one kind."""
    waiting, before = Counter(job.model for job in line), Counter[str]()
    found = {}
    for place, job in enumerate(line, 1):
        before[job.model] += 1
        among = Position(before[job.model] + before[""], waiting[job.model] + waiting[""])
        found[job.id] = among if job.model else Position(place, len(line))
    return found


def _lane(job: Job) -> Lane:
    return job.kind, job.model, job.tenant


def _merged(lanes: dict[Lane, deque[Job]], counters: Mapping[str, float]) -> Iterator[Job]:
    """The lanes' jobs, lowest counter first, then the earliest. ``counters`` may grow between two of them."""
    heads = [
        (counters.get(tenant, 0.0), jobs[0].submitted_at, tenant, model, kind)
        for (kind, model, tenant), jobs in lanes.items()
    ]
    heapify(heads)
    while heads:
        counter, arrival, tenant, model, kind = heappop(heads)
        now, jobs = counters.get(tenant, 0.0), lanes[kind, model, tenant]
        if now != counter:  # another lane of the tenant's went meanwhile
            heappush(heads, (now, arrival, tenant, model, kind))
            continue
        yield jobs.popleft()
        if jobs:
            heappush(heads, (counters.get(tenant, 0.0), jobs[0].submitted_at, tenant, model, kind))


def _cost(job: Job, prompt_tokens: float, output_tokens: float) -> float:
    read = PROMPT_COST if job.kind == ANSWER else EMBEDDED_COST
    return (prompt_tokens * read + output_tokens * OUTPUT_COST) / job.weight
