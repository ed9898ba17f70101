"""A report's numbers in words. Pure."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from .reports import Counts, Period
from .statistics import ENOUGH, Interval, Share, difference

DASH = "–"
SMALL = 0.0995  # what would round to 9.9% or less gets a decimal


def percent(share: float | None) -> str:
    """``78%``, ``4.2%``; a dash when there is nothing to divide."""
    if share is None:
        return DASH
    digits = 1 if 0 < share < SMALL else 0
    return f"{share * 100:.{digits}f}%"


def percent_range(interval: Interval | None) -> str:
    """``71–84%``."""
    return f"{interval.low * 100:.0f}{DASH}{interval.high * 100:.0f}%" if interval else DASH


def counted(number: int, noun: str) -> str:
    """``1 answer``, ``1,200 answers``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def day_name(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"


def period_name(period: Period) -> str:
    """``25 Oct – 21 Nov 2026``."""
    first, last = period.first, period.last
    year = f" {first:%Y}" if first.year != last.year else ""
    return f"{first.day} {first:%b}{year} {DASH} {last.day} {last:%b %Y}"


def change(now: Share, before: Share, days: int) -> str:
    """How ``now`` stands against the period before, no surer than the numbers are."""
    period = f"the {days} days before"
    change = difference(now, before)
    if change is None:
        return f"Nothing in {period} to compare with."
    if not (now.enough and before.enough):
        return f"Too few to compare with {period}, which had {before.part:,} of {before.whole:,}."
    spread = f"95%: {points(change.interval.low)} to {points(change.interval.high)}"
    if not change.clear:
        return f"No clear change from {period}: {points(change.value)} points ({spread})."
    way = "Up" if change.value > 0 else "Down"
    return f"{way} {abs(change.value) * 100:.0f} points from {period} ({spread})."


def points(difference: float) -> str:
    """A difference of shares in percentage points: ``+12``, ``−3``, ``0``."""
    whole = round(difference * 100)
    return f"{whole:+d}".replace("-", "\N{MINUS SIGN}") if whole else "0"


def day_summary(day: date, counts: Counts | None) -> str:
    """One day of the chart in a line."""
    if counts is None:
        return f"{day_name(day)}: no answers"
    answers = counted(counts.answers, "answer")
    if not counts.ratings:
        return f"{day_name(day)}: {answers}, none rated"
    share = counts.approval
    sure = f"{percent(share.value)} good (95%: {percent_range(share.interval)})"
    return f"{day_name(day)}: {sure}, {counted(counts.ratings, 'rating')} of {answers}"


def approval_headline(share: Share) -> str:
    """The share once it says something; before, the bare count."""
    if share.enough:
        return percent(share.value)
    return f"{share.part} of {share.whole}" if share.whole else DASH


def approval_caution(share: Share) -> str:
    """What to think of the headline: its interval, or that it is too early to think anything."""
    if not share.whole:
        return "Nobody has rated an answer of these days."
    if not share.enough:
        return f"Too few ratings to say: a share is shown from {ENOUGH} on."
    return f"95% interval {percent_range(share.interval)}, from {share.whole:,} ratings"


def freshness(counted_at: datetime | None, every: timedelta, now: datetime) -> str:
    """When the counts were made and when they will be next. Times in UTC."""
    pace = f"every {every.total_seconds():.0f} s"
    if counted_at is None:
        return f"Nothing has been counted yet. Counting runs {pace}, in the background worker."
    last = f"Counted at {counted_at:%H:%M} UTC"
    if now > counted_at + 3 * every:
        day = "" if counted_at.date() == now.date() else f" on {day_name(counted_at.date())}"
        return f"{last}{day}. It should run {pace} and is late: the background worker may not be running."
    due = counted_at + every
    return f"{last}. Next at {due:%H:%M} UTC." if due > now else f"{last}. Next any moment now."
