"""Who goes next: the virtual token counter, pure. No I/O, no threads, no clock.

Every tenant has a counter of the service it has received, in weighted tokens divided by its plan's
weight: ``(prompt·1 + output·2) / weight``. The waiting tenant with the lowest counter goes first. A
tenant that comes back from idle is lifted to the lowest counter among those waiting, so that idle
time is no credit ("Fairness in Serving Large Language Models", OSDI 2024, algorithm 2). Inside a
tenant jobs go in order of arrival. A lower band goes only when the band above it is empty.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush

from .messages import Job, Waiting

PROMPT_COST, OUTPUT_COST = 1.0, 2.0


class FairQueue:
    """Waiting jobs, and the counters that order them."""

    def __init__(self) -> None:
        self._waiting: dict[int, dict[str, deque[Job]]] = {}
        self._counters: dict[str, float] = {}
        self._served = 0.0

    def __len__(self) -> int:
        return sum(len(jobs) for tenants in self._waiting.values() for jobs in tenants.values())

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
            self._waiting.setdefault(job.band, {}).setdefault(job.tenant, deque()).append(job)
        self._counters.update(counters)
        self._served = served

    def push(self, job: Job, *, first: bool = False) -> None:
        """Add a job; ``first`` puts one whose worker was lost back at the head of its tenant's line."""
        self._counters[job.tenant] = self._lifted(job.tenant)
        jobs = self._waiting.setdefault(job.band, {}).setdefault(job.tenant, deque())
        (jobs.appendleft if first else jobs.append)(job)

    def pop(self, room: float = math.inf) -> Job | None:
        """The next job, charged for its prompt; None when none waits or its prompt is over ``room`` tokens.

        A job that does not fit holds the line: smaller ones behind it must not starve it.
        """
        job = next(self._in_order(dict(self._counters)), None)
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
            tenants = self._waiting[job.band]
            tenants[job.tenant].remove(job)
            if not tenants[job.tenant]:
                del tenants[job.tenant]
        return job

    def charge(self, job: Job, *, prompt_tokens: int = 0, output_tokens: int = 0) -> None:
        self._counters[job.tenant] = self.counter(job.tenant) + _cost(job, prompt_tokens, output_tokens)

    def place(self, job_id: str) -> int | None:
        """1 for the job that goes next if nothing changes, None for one that does not wait."""
        order = self._in_order(dict(self._counters))
        return next((place for place, job in enumerate(order, 1) if job.id == job_id), None)

    def line(self, output_tokens: float = 0.0, also: Job | None = None) -> list[Waiting]:
        """All that wait, in the order they would go if each wrote ``output_tokens``, or all it may if that is less.

        ``also`` stands in it where it would if it were pushed now; nothing is changed by it.
        """
        counters = dict(self._counters)
        if also is not None:
            counters[also.tenant] = self._lifted(also.tenant)
        return [
            Waiting(job.id, job.tenant, job.prompt_tokens, job.sampling.max_tokens, job.band)
            for job in self._in_order(counters, output_tokens, also)
        ]

    def _lifted(self, tenant: str) -> float:
        """The tenant's counter were it to push a job now."""
        waiting = {name for tenants in self._waiting.values() for name in tenants}
        if tenant in waiting:
            return self.counter(tenant)
        # Where nobody waits, whoever was served last is the measure.
        return max(self.counter(tenant), min((self.counter(name) for name in waiting), default=self._served))

    def _in_order(
        self, counters: dict[str, float], output_tokens: float = 0.0, also: Job | None = None
    ) -> Iterator[Job]:
        """Waiting jobs in the order they would go, each charged for its prompt and its output on the way."""
        for band in sorted(self._waiting.keys() | ({also.band} if also else set())):
            lines = {tenant: deque(jobs) for tenant, jobs in self._waiting.get(band, {}).items()}
            if also is not None and also.band == band:
                lines.setdefault(also.tenant, deque()).append(also)
            heads = [(counters.get(tenant, 0.0), jobs[0].submitted_at, tenant) for tenant, jobs in lines.items()]
            heapify(heads)
            while heads:
                counter, _, tenant = heappop(heads)
                job = lines[tenant].popleft()
                written = min(output_tokens, job.sampling.max_tokens)
                counters[tenant] = counter + _cost(job, job.prompt_tokens, written)
                if lines[tenant]:
                    heappush(heads, (counters[tenant], lines[tenant][0].submitted_at, tenant))
                yield job

    def _jobs(self) -> Iterator[Job]:
        return (job for tenants in self._waiting.values() for jobs in tenants.values() for job in jobs)


def _cost(job: Job, prompt_tokens: float, output_tokens: float) -> float:
    return (prompt_tokens * PROMPT_COST + output_tokens * OUTPUT_COST) / job.weight
