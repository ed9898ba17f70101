"""How long a job will wait. No I/O, no threads, no clock: all it needs is given.

The estimate lets the line go on as the workers report it: answers under way end when others of their length
have ended, a place that becomes free goes to the next in line, and that answer takes as long as the last
ones did. Ends are counted as likelihoods rather than at their mean: of sixteen answers that take a minute on
average the first ends after seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from statistics import fmean

from ..messages import Waiting, WorkerReport

PROMPT_SHARE = 0.1  # reading a token of a prompt costs this part of writing one of an answer
POINTS = 8  # ends that stand for the lengths an answer may have
LENGTHS = (25, 75, 150, 250, 400, 700)  # before workers have written enough to tell
ENOUGH = 8
EARLY = 0.92  # of as many ends as a place needs: of a chance wait most lie between half and double of that
SHORTEST = 2.0  # seconds: when an answer ends is chance, and most of the waits that are short are under twice that

PACE_SECONDS = 120.0  # how long what was seen of a tenant's waits counts
FORGET_SECONDS = 600.0
GAP_SECONDS = 5.0  # between looks; what happened in a longer one nobody saw
TRUST = 5.0  # seconds of the line's own word, beside which little seen counts little
LONGEST_STRETCH = 20.0


def expected_output(workers: Iterable[WorkerReport]) -> float:
    """Tokens of an answer, as the last ones were."""
    return fmean(_lengths(workers))


def expected_waits(line: Sequence[Waiting], workers: Sequence[WorkerReport]) -> list[float | None]:
    """For each in ``line``, in order, the seconds until a worker of its model takes it; None while nobody can tell.

    What comes later and goes first is not foreseen. O((line + answers) log) for each model.
    """
    waits: dict[str, float | None] = {}
    ready = [worker for worker in workers if worker.state == "ready"]
    for kind, model in {(worker.kind, worker.model) for worker in ready}:
        among = [job for job in line if job.kind == kind and (not model or job.model in (model, ""))]
        told = _waits_of_one_model(among, [worker for worker in ready if (worker.kind, worker.model) == (kind, model)])
        for job, wait in zip(among, told, strict=True):
            before = waits.get(job.id)
            waits[job.id] = min((known for known in (before, wait) if known is not None), default=None)
    return [waits.get(job.id) for job in line]


def _waits_of_one_model(line: Sequence[Waiting], ready: Sequence[WorkerReport]) -> list[float | None]:
    free = sum(max(0, worker.free_slots) for worker in ready)
    if free >= len(line):  # as on most days; what comes next is work for every answer under way
        return [0.0] * len(line)
    rate, lengths = _rate(ready), _lengths(ready)
    ends = _ends(ready, lengths)
    waits: list[float | None] = []
    now = ended = 0.0
    for place, job in enumerate(line, 1):
        while ended < _ends_for(place - free) and ends:
            now, share = heappop(ends)
            ended += share
        if ended < _ends_for(place - free):  # there are no places at all
            return [None] * len(line)
        waits.append(_seconds(now, rate))
        for tokens in _spread(lengths, 0, job.max_tokens):
            heappush(ends, (now + tokens + job.prompt_tokens * PROMPT_SHARE, 1 / POINTS))
    return waits


def _ends_for(place: int) -> float:
    """How many ends, each counted by how likely it is, have to be foreseen until the one at ``place`` goes."""
    return max(EARLY * place, place - 0.5) if place > 0 else 0.0


class Forecast:
    """Expected waits that allow for those who will come and go first, by how it went so far.

    The line by itself knows only who waits now. A tenant whose turn others often take before it sees its wait
    run down slower than a second a second: how much slower is measured at every look, and stretches what the
    line says. Little seen counts little, and a short wait is stretched less: few come in it.
    """

    def __init__(self) -> None:
        self._paces: dict[str, _Pace] = {}
        self._waits: dict[str, tuple[str, float]] = {}  # of each job at the last look: its tenant, and the line's word
        self._then = 0.0

    def observe(self, line: Sequence[Waiting], workers: Sequence[WorkerReport], now: float) -> list[float | None]:
        """Look at the line, once a second or so. ``now`` is in seconds. Returns as ``waits``."""
        told = expected_waits(line, workers)
        before, passed, self._then = self._waits, now - self._then, now
        self._waits = {job.id: (job.tenant, wait) for job, wait in zip(line, told, strict=True) if wait is not None}
        for job_id, (tenant, wait) in before.items() if passed < GAP_SECONDS else ():
            left = self._waits.get(job_id, (tenant, 0.0))[1]
            went = job_id not in self._waits
            self._paces.setdefault(tenant, _Pace()).count(passed / 2 if went else passed, wait - left, now)
        for tenant in [name for name, pace in self._paces.items() if now - pace.seen > FORGET_SECONDS]:
            del self._paces[tenant]
        return [self._stretched(job.tenant, wait) for job, wait in zip(line, told, strict=True)]

    def waits(self, line: Sequence[Waiting], workers: Sequence[WorkerReport]) -> list[float | None]:
        """As ``expected_waits``."""
        told = expected_waits(line, workers)
        return [self._stretched(job.tenant, wait) for job, wait in zip(line, told, strict=True)]

    def _stretched(self, tenant: str, wait: float | None) -> float | None:
        pace = self._paces.get(tenant)
        if not wait:
            return wait
        more = pace.stretch - 1 if pace else 0.0
        return max(SHORTEST, wait * (1 + more * (wait / (wait + SHORTEST) if more > 0 else 1)))


@dataclass(slots=True)
class _Pace:
    """Seconds that a tenant's jobs waited, and by how many the line's word ran down meanwhile; old ones fade."""

    passed: float = 0.0
    ran_down: float = 0.0
    seen: float = 0.0

    def count(self, passed: float, ran_down: float, now: float) -> None:
        share = math.exp((self.seen - now) / PACE_SECONDS)
        self.passed, self.ran_down, self.seen = self.passed * share + passed, self.ran_down * share + ran_down, now

    @property
    def stretch(self) -> float:
        ratio = (self.passed + TRUST) / (max(0.0, self.ran_down) + TRUST)
        return min(LONGEST_STRETCH, max(1 / 2, ratio))


def _seconds(tokens: float, rate: float) -> float | None:
    """Until each answer under way is ``tokens`` longer."""
    if tokens == 0:
        return 0.0
    return tokens / rate if rate else None


def _rate(workers: Sequence[WorkerReport]) -> float:
    """Tokens a second of one answer, on average over the places there are."""
    known = [(worker.rate, worker.free_slots + len(worker.answers)) for worker in workers if worker.rate]
    places = sum(slots for _, slots in known)
    return sum(rate * slots for rate, slots in known) / places if places else 0.0


def _lengths(workers: Iterable[WorkerReport]) -> list[int]:
    known = [length for worker in workers for length in worker.lengths]
    return sorted(known if len(known) >= ENOUGH else [*known, *LENGTHS])


def _ends(workers: Sequence[WorkerReport], lengths: Sequence[int]) -> list[tuple[float, float]]:
    """When answers under way may end, in tokens from now, and how likely each is."""
    answers = (answer for worker in workers for answer in worker.answers)
    ends = [(tokens, 1 / POINTS) for written, most in answers for tokens in _spread(lengths, written, most)]
    heapify(ends)
    return ends


def _spread(lengths: Sequence[int], written: int, most: int) -> list[float]:
    """``POINTS`` equally likely numbers of tokens to come after ``written``; ``lengths`` are sorted."""
    longer = bisect_right(lengths, written)
    rest = len(lengths) - longer
    if not rest:  # longer than any before it: nobody knows, but not for ever
        return [float(max(0, min(written // 4 + 1, most - written)))] * POINTS
    picked = (lengths[longer + (2 * point + 1) * rest // (2 * POINTS)] for point in range(POINTS))
    return [float(max(0, min(length, most) - written)) for length in picked]
