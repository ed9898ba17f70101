"""From when each token came to the figures of a run."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.workload import percentile


@dataclass(slots=True)
class Answer:
    """``due`` and ``at`` (one per token) in seconds after the wave's start; ``cached_tokens`` of the prompt's."""

    due: float
    prompt_tokens: int
    at: list[float] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    cached_tokens: int | None = None
    tenant: str = ""
    finished: bool = False

    @property
    def first(self) -> float:
        """Seconds to the first token; infinite when none came."""
        return self.at[0] - self.due if self.at else float("inf")

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.at)]

    @property
    def mean_gap(self) -> float:
        return (self.at[-1] - self.at[0]) / max(1, len(self.at) - 1) if self.at else float("inf")


Wave = Mapping[str, Answer]
Figures = dict[str, float]


def milliseconds(seconds: Sequence[float], share: float) -> float:
    return round(percentile(seconds, share) * 1000, 2) if seconds else float("nan")


def rate(waves: Iterable[Wave]) -> float:
    """Tokens per second of one round; a wave lasts until its last token."""
    tokens, seconds = 0, 0.0
    for wave in waves:
        tokens += sum(len(answer.at) for answer in wave.values())
        seconds += max((answer.at[-1] for answer in wave.values() if answer.at), default=0.0)
    return tokens / seconds if seconds else 0.0


def steady_rate(waves: Iterable[Wave]) -> float:
    """Tokens per second while every answer of a wave was being written, the prompts' time left out."""
    tokens, seconds = 0, 0.0
    for wave in waves:
        begin = max(answer.at[0] for answer in wave.values() if answer.at)
        end = min(answer.at[-1] for answer in wave.values() if answer.at)
        if end > begin:
            tokens += sum(begin < at <= end for answer in wave.values() for at in answer.at)
            seconds += end - begin
    return tokens / seconds if seconds else float("nan")


def summarise(rounds: Sequence[Sequence[Wave]]) -> Figures:
    """Medians over rounds of the rates; percentiles over all answers and all gaps, in milliseconds."""
    answers = [answer for waves in rounds for wave in waves for answer in wave.values() if answer.at]
    gaps = [gap for answer in answers for gap in answer.gaps]
    first = [answer.first for answer in answers]
    rates = [rate(waves) for waves in rounds]
    return {
        "tokens_per_second": round(statistics.median(rates), 1),
        "slowest_round": round(min(rates), 1),
        "fastest_round": round(max(rates), 1),
        "steady_tokens_per_second": round(statistics.median(map(steady_rate, rounds)), 1),
        "first_token_p50_ms": milliseconds(first, 0.5),
        "first_token_p95_ms": milliseconds(first, 0.95),
        "gap_p50_ms": milliseconds(gaps, 0.5),
        "gap_p99_ms": milliseconds(gaps, 0.99),
        "tokens": sum(len(answer.at) for answer in answers),
        "unfinished": sum(not answer.finished for waves in rounds for wave in waves for answer in wave.values()),
        "rounds": len(rounds),
    }
