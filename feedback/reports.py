"""What a report says, from the roll-up's counts and the latest comments of the tenant in scope."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import F
from django.db.models.functions import Left

from .models import DailyRating, Rating
from .reasons import LABELS
from .statistics import Share

RANGES = (7, 28, 90)  # days
COMMENTS = 10
EXCERPT = 200  # characters of the question


@dataclass(frozen=True, slots=True)
class Period:
    """Whole UTC days, both ends included."""

    first: date
    last: date

    @classmethod
    def ending(cls, last: date, days: int) -> Period:
        return cls(last - timedelta(days=days - 1), last)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> Period:
        """As many days, right before."""
        return Period.ending(self.first - timedelta(days=1), self.days)

    @property
    def dates(self) -> list[date]:
        return [self.first + timedelta(days=age) for age in range(self.days)]

    @property
    def times(self) -> tuple[datetime, datetime]:
        """The first moment, and the first after the last."""
        after = self.last + timedelta(days=1)
        return datetime.combine(self.first, time.min, UTC), datetime.combine(after, time.min, UTC)


@dataclass(frozen=True, slots=True)
class Counts:
    """Answers, those rated, ratings of either value, and how often each reason was given."""

    answers: int = 0
    rated: int = 0
    up: int = 0
    down: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: Iterable[DailyRating]) -> Counts:
        rows = list(rows)
        sums = {name: sum(getattr(row, name) for row in rows) for name in ("answers", "rated", "up", "down")}
        reasons: Counter[str] = Counter()
        for row in rows:
            reasons.update(row.reasons)
        return cls(**sums, reasons=reasons)

    @property
    def ratings(self) -> int:
        return self.up + self.down

    @property
    def approval(self) -> Share:
        return Share(self.up, self.ratings)

    @property
    def response(self) -> Share:
        return Share(self.rated, self.answers)

    def of_value(self, value: int) -> int:
        return self.up if value > 0 else self.down


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """How many ratings of one value named a reason. A rating may name several, or none."""

    label: str
    share: Share


@dataclass(frozen=True, slots=True)
class Report:
    """One tenant's period, all models or one. Days without answers are absent from every part.

    ``by_day`` begins with the oldest, ``by_day_and_model`` with the newest.
    """

    period: Period
    model: str
    models: list[str]
    total: Counts
    before: Counts
    by_day: dict[date, Counts]
    by_model: dict[str, Counts]
    by_day_and_model: dict[tuple[date, str], Counts]

    def reasons(self, value: int) -> list[ReasonCount]:
        """The reasons given for ratings of ``value``, the most frequent first."""
        given = self.total.of_value(value)
        counts = [(self.total.reasons[code], label) for code, label in LABELS[value].items()]
        counts.sort(key=lambda pair: -pair[0])
        return [ReasonCount(label, Share(count, given)) for count, label in counts if count]


def read_report(*, period: Period, model: str = "") -> Report:
    """The report of the tenant in scope. ``model`` empty means all of them. Two queries."""
    found = DailyRating.objects.of_model(model).between(period.before.first, period.last)
    rows = list(found)  # newest first, then by model
    now = [row for row in rows if row.day >= period.first]
    return Report(
        period=period,
        model=model,
        models=DailyRating.objects.models(),
        total=Counts.of(now),
        before=Counts.of(row for row in rows if row.day < period.first),
        by_day=_grouped(reversed(now), lambda row: row.day),
        by_model=_grouped(sorted(now, key=lambda row: row.model), lambda row: row.model),
        by_day_and_model=_grouped(now, lambda row: (row.day, row.model)),
    )


def latest_comments(*, period: Period, model: str = "") -> list[dict[str, Any]]:
    """The newest comments on answers of the period: ``value``, ``reasons`` as labels, ``comment``,
    ``updated_at``, ``model`` and an excerpt of the ``question``. Who wrote them is not told. What people
    deleted is not shown.
    """
    first, after = period.times
    rows = Rating.objects.filter(message__ended_at__gte=first, message__ended_at__lt=after)
    if model:
        rows = rows.filter(message__model=model)
    rows = rows.filter(message__conversation__deleted_at=None).exclude(comment="").order_by("-updated_at")
    named = {"model": F("message__model"), "question": Left("message__parent__text", EXCERPT)}
    found = rows.values("value", "reasons", "comment", "updated_at", **named)[:COMMENTS]
    return [{**row, "reasons": [LABELS[row["value"]][code] for code in row["reasons"]]} for row in found]


def _grouped(rows: Iterable[DailyRating], key: Callable[[DailyRating], Any]) -> dict[Any, Counts]:
    groups: dict[Any, list[DailyRating]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return {name: Counts.of(group) for name, group in groups.items()}
