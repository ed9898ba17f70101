"""Shares of counted things, and how sure they are. Pure.

Nothing divided by nothing is None, never 0: a day nobody rated is not a day everybody disliked.
The intervals take every rating as independent of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
ENOUGH = 10  # things counted; below, an interval is so wide that a share says next to nothing


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Share:
    """``part`` things of ``whole``. ``value`` and the interval's ends run from 0 to 1."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        return self.part / self.whole if self.whole else None

    @property
    def interval(self) -> Interval | None:
        return wilson_interval(self.part, self.whole)

    @property
    def enough(self) -> bool:
        return self.whole >= ENOUGH


@dataclass(frozen=True, slots=True)
class Difference:
    """One share minus another, from -1 to 1."""

    value: float
    interval: Interval

    @property
    def clear(self) -> bool:
        """The interval leaves out no change at all."""
        return 0 not in self.interval


def wilson_interval(part: int, whole: int) -> Interval | None:
    """The score interval of a share (E. B. Wilson, 1927). None when there is nothing to divide."""
    if not whole:
        return None
    share, spread = part / whole, Z * Z / whole
    centre = (share + spread / 2) / (1 + spread)
    reach = Z * sqrt(share * (1 - share) / whole + spread / whole / 4) / (1 + spread)
    # At none and at all the exact end is 0 or 1; floats may miss it by their last digit.
    low = max(0.0, centre - reach) if part else 0.0
    high = min(1.0, centre + reach) if part < whole else 1.0
    return Interval(low, high)


def difference(now: Share, before: Share) -> Difference | None:
    """``now`` minus ``before`` with the hybrid score interval (R. G. Newcombe, 1998, method 10).

    None when either has nothing to divide.
    """
    one, two = now.interval, before.interval
    if one is None or two is None:
        return None
    a, b = now.part / now.whole, before.part / before.whole
    low = a - b - hypot(a - one.low, two.high - b)
    high = a - b + hypot(one.high - a, b - two.low)
    return Difference(a - b, Interval(low, high))
