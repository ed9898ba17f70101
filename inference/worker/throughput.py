"""How fast a worker writes, for those who wait for it. No I/O, no threads; the clock is given.

A worker's link tells it of every claim and event; ``describe`` puts what it has found into the
heartbeat, from which ``admission`` foretells waits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ..line.forecast import PROMPT_SHARE
from ..messages import Claim, Ended, Event, Text, Vectors, WorkerReport

MEMORY_SECONDS = 5.0  # of the moving average of the rate
ANSWERS = 64  # of the last ones, whose lengths are told


class Throughput:
    """``clock`` gives seconds. Not thread-safe: the link calls it under its lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._then = clock, clock()
        self._answers: dict[str, list[int]] = {}  # of each under way, the tokens so far and the most there can be
        self._lengths: deque[int] = deque(maxlen=ANSWERS)
        self._rates: dict[int, float] = {}  # tokens/s of one answer, by how many were under way (bits of the number)
        self._tokens = self._seconds = self._answer_seconds = 0.0  # since the last ``describe``

    def began(self, claims: Iterable[Claim]) -> None:
        self._advance()
        for claim in claims:
            self._answers[claim.job.id] = [claim.tokens, claim.job.sampling.max_tokens]
            self._tokens += claim.job.prompt_tokens * PROMPT_SHARE

    def saw(self, events: Mapping[str, Sequence[Event]]) -> None:
        """Events of answers; of one that was lost, and of what came by no claim, nothing is kept."""
        self._advance()
        for generation, run in events.items():
            if answer := self._answers.get(generation):
                self._count(generation, answer, run)

    def _count(self, generation: str, answer: list[int], events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Text | Vectors):
                answer[0] += event.tokens
                self._tokens += event.tokens
            elif isinstance(event, Ended):
                del self._answers[generation]
                if event.reason in ("stop", "length"):  # how far others would have gone nobody knows
                    self._lengths.append(event.output_tokens or answer[0])

    def lost(self, generations: Iterable[str]) -> None:
        self._advance()
        for generation in generations:
            self._answers.pop(generation, None)

    def describe(self, report: WorkerReport) -> WorkerReport:
        """The report, with what there is to tell. The rate is of the fullest the worker has been."""
        self._advance()
        self._close_window()
        rate = self._rates[max(self._rates)] if self._rates else 0.0
        answers = tuple((written, most) for written, most in self._answers.values())
        return replace(report, rate=rate, answers=answers, lengths=tuple(self._lengths))

    def _advance(self) -> None:
        now = self._clock()
        self._seconds += now - self._then
        self._answer_seconds += (now - self._then) * len(self._answers)
        self._then = now

    def _close_window(self) -> None:
        if self._answer_seconds > 0:
            at_once = math.ceil(self._answer_seconds / self._seconds).bit_length()
            before = self._nearest_rate(at_once)
            rate, share = self._tokens / self._answer_seconds, 1 - math.exp(-self._seconds / MEMORY_SECONDS)
            if before:
                self._rates[at_once] = before + share * (rate - before)
            elif rate:
                self._rates[at_once] = rate
        self._tokens = self._seconds = self._answer_seconds = 0.0

    def _nearest_rate(self, at_once: int) -> float:
        """As full as that, or a little less: where to start from on the way up."""
        known = [bits for bits in self._rates if bits <= at_once]
        return self._rates[max(known)] if known else 0.0
