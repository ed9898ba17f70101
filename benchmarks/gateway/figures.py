"""From answers to the figures of a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import milliseconds
from benchmarks.gateway.clients import Answer
from benchmarks.workload import percentile

HELD_SECONDS = 0.1  # a stream whose tokens came with more on top was not held
OURS = ("web", "worker", "redis")  # whose work a token costs; PostgreSQL's is told beside it

Seconds = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Case:
    """``streams`` answers of ``tokens`` each at ``rate`` a second (0: at once), begun ``starts`` a second."""

    streams: int
    tokens: int
    rate: int
    starts: float

    @property
    def ramp(self) -> float:
        """Seconds until the last has begun."""
        return self.streams / self.starts

    @property
    def steady(self) -> tuple[float, float] | None:
        """Between which seconds of the case all of them are being written; None if never."""
        begins, ends = self.ramp + 2.0, (self.tokens / self.rate if self.rate else 0.0) - 1.0
        return (begins, ends) if ends - begins >= 2.0 else None


@dataclass(slots=True)
class Measured:
    """What a case came to. Processor seconds by process: of all of it, and of its steady part."""

    case: Case
    answers: list[Answer]
    began: float
    seconds: float
    cpu: Seconds = field(default_factory=dict)
    steady_cpu: Seconds = field(default_factory=dict)
    rss: Mapping[str, int] = field(default_factory=dict)


def summarise(measured: Measured) -> dict[str, Any]:
    case, answers = measured.case, measured.answers
    added = [late for answer in answers for late in _added(answer)]
    first = [answer.at[0] - answer.asked for answer in answers if answer.at]
    tokens = sum(len(answer.at) for answer in answers)
    return {
        "streams": case.streams,
        "held": sum(is_held(answer, case.tokens) for answer in answers),
        "tokens": tokens,
        "tokens_per_second": round(tokens / measured.seconds, 1),
        "errors": _errors(answers),
        "lost": sum(len(set(range(case.tokens)) - set(answer.numbers)) for answer in answers),
        "doubled": sum(len(answer.numbers) - len(set(answer.numbers)) for answer in answers),
        "unlike_the_database": sum(answer.stored not in (None, answer.text) for answer in answers),
        **_percentiles("first_token", first, (50, 95)),
        **_percentiles("added", added, (50, 95, 99)),
        **_processor(measured, tokens),
        "rss_mb": {name: round(size / 1e6, 1) for name, size in measured.rss.items()},
    }


def is_held(answer: Answer, tokens: int) -> bool:
    """Every token, in order, in time; and its end."""
    whole = answer.ended and answer.numbers == list(range(tokens)) and answer.stored in (None, answer.text)
    return whole and percentile(_added(answer), 0.95) < HELD_SECONDS


def _added(answer: Answer) -> list[float]:
    """Seconds from when each token left the model server to when its reader had it."""
    return [at - sent for sent, at in zip(answer.sent, answer.at, strict=True)]


def _errors(answers: Sequence[Answer]) -> dict[str, int]:
    """How often each was told."""
    told = [answer.error for answer in answers if answer.error]
    return {error: told.count(error) for error in sorted(set(told))}


def _percentiles(name: str, seconds: Sequence[float], shares: Sequence[int]) -> dict[str, float]:
    return {f"{name}_p{share}_ms": milliseconds(seconds, share / 100) for share in shares}


def _processor(measured: Measured, tokens: int) -> dict[str, Any]:
    """Milliseconds per 1,000 tokens: of the whole case with its beginnings and ends, and while all are written."""
    if not measured.cpu or not tokens:
        return {}
    result: dict[str, Any] = {"cpu_ms_per_1000_tokens": _per_thousand(measured.cpu, tokens)}
    if window := measured.case.steady:
        begins, ends = (measured.began + seconds for seconds in window)
        written = sum(begins <= at < ends for answer in measured.answers for at in answer.at)
        result["steady_cpu_ms_per_1000_tokens"] = _per_thousand(measured.steady_cpu, written)
    return result


def _per_thousand(cpu: Seconds, tokens: int) -> dict[str, float]:
    each = {name: seconds * 1e6 / max(1, tokens) for name, seconds in cpu.items()}
    each |= {"all": sum(each[name] for name in OURS)} if set(OURS) <= set(each) else {}
    return {name: round(value, 1) for name, value in each.items()}
