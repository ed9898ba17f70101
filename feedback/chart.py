"""Approval by day as the geometry of an SVG. Pure.

x is in percent of the drawing's width, y and radii in pixels, so that the chart fills any width while
its letters and points keep their size. A day that nobody rated has no mark at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from math import sqrt

from .reports import Counts, Period
from .statistics import Interval
from .wording import day_summary

TOP, PLOT = 10, 200
BASE = TOP + PLOT
HEIGHT = BASE + 30
SMALLEST, LARGEST = 2.2, 7.0  # radii
NARROW = 400  # pixels; on a screen this wide the largest points of neighbouring days just overlap by half
MOST_LABELS = 7


@dataclass(frozen=True, slots=True)
class Day:
    """The strip of one day, whether or not it was rated."""

    x: float
    width: float
    summary: str


@dataclass(frozen=True, slots=True)
class Point:
    """A rated day: its share at ``y``, the ends of its 95% interval at ``low`` and ``high``."""

    x: float
    y: float
    low: float
    high: float
    radius: float


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    days: list[Day]
    points: list[Point]
    lines: list[tuple[Point, Point]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    most: int
    largest: float
    crowded: bool
    base: int = BASE
    height: int = HEIGHT


def draw_chart(period: Period, by_day: Mapping[date, Counts]) -> Chart:
    """One point for every rated day, joined to the next only when that day was rated too."""
    dates = period.dates
    width = 100 / len(dates)
    most = max((counts.ratings for counts in by_day.values()), default=0)
    largest = min(LARGEST, NARROW / len(dates))
    places = {day: (place + 0.5) * width for place, day in enumerate(dates)}
    points = {
        day: _point(places[day], counts, interval, largest * sqrt(counts.ratings / most))
        for day, counts in by_day.items()
        if (interval := counts.approval.interval)
    }
    return Chart(
        days=[_day(place * width, width, day, by_day.get(day)) for place, day in enumerate(dates)],
        points=list(points.values()),
        lines=[(points[a], points[b]) for a, b in pairwise(dates) if a in points and b in points],
        x_ticks=_x_ticks(dates, width),
        y_ticks=[Tick(_y(share / 100), f"{share}%") for share in (0, 25, 50, 75, 100)],
        most=most,
        largest=round(largest, 2),
        crowded=largest < LARGEST,
    )


def _day(x: float, width: float, day: date, counts: Counts | None) -> Day:
    return Day(round(x, 3), round(width, 3), day_summary(day, counts))


def _point(x: float, counts: Counts, interval: Interval, radius: float) -> Point:
    middle, low, high = (_y(share) for share in (counts.up / counts.ratings, interval.low, interval.high))
    return Point(round(x, 3), middle, low, high, max(SMALLEST, round(radius, 2)))


def _x_ticks(dates: list[date], width: float) -> list[Tick]:
    """Counted back from the last day: every day of a week, every week of a month, every 15th of a quarter."""
    step = next(step for step in (1, 7, 15) if len(dates) <= step * MOST_LABELS)
    places = range(len(dates) - 1, -1, -step)
    return [Tick(round((i + 0.5) * width, 3), f"{dates[i].day} {dates[i]:%b}") for i in reversed(places)]


def _y(share: float) -> float:
    return round(TOP + (1 - share) * PLOT, 2)
