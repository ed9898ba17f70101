"""The roll-up: answers and ratings counted by tenant, day, model and prompt version.

An answer is one message, however often it was continued, counted on the UTC day its last run ended
and under that run's prompt version. One that failed without a word is a failure, not an answer.
Counting a day again replaces its counts, so any number of runs give what one run gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast, TruncDate
from django.utils import timezone

from chatapp.chat.models import Generation

from .models import DailyRating, RatingEvent, RollUp
from .reasons import BAD, CODES, GOOD

# An event's time is taken before its transaction commits, perhaps by another machine's clock: one
# that the last run could not see yet is at most this old.
OVERLAP = timedelta(minutes=5)
COUNTS = ("answers", "rated", "up", "down", "reasons")
DAY = TruncDate("finished_at", tzinfo=UTC)
Key = tuple[Any, date, str, str]


def roll_up_ratings(*, days: int, now: datetime | None = None) -> int:
    """Count the last ``days`` UTC days again, today included, in one transaction. Call it for all tenants.

    Also counted: every day since the last run, and older days on which an answer was rated, taken back
    or continued since then. The first run counts everything. Returns how many rows were written or removed.
    """
    now = now or timezone.now()
    with transaction.atomic():
        rollup = RollUp.lock()
        due = days_due(days=days, now=now, last=rollup.counted_at)
        changed = _replace(due, count_days(due), now)
        rollup.counted_at = now
        rollup.save(update_fields=["counted_at"])
    return changed


def days_due(*, days: int, now: datetime, last: datetime | None) -> set[date]:
    """The days to count, given when they were last counted."""
    today = now.astimezone(UTC).date()
    if last is None:
        earliest = Generation.objects.exclude(finished_at=None).order_by("finished_at").first()
        first = earliest.finished_at.astimezone(UTC).date() if earliest else today
        return _days_from(min(first, today), today)
    since = last - OVERLAP
    first = min(today - timedelta(days=days - 1), since.astimezone(UTC).date())
    return _days_from(first, today) | _older_days(since, _midnight(first))


def count_days(due: Iterable[date]) -> dict[Key, dict[str, Any]]:
    """The counts of each tenant, day, model and prompt version, by one statement: all of one moment."""
    rows = _answers().filter(_ended_on(due)).alias(given=Cast("message__ratings__reasons", TextField()))
    groups = rows.order_by().values("tenant_id", "prompt_version", written_by=F("message__model"), day=DAY)
    return {
        (group["tenant_id"], group["day"], group["written_by"], group["prompt_version"]): _counts(group)
        for group in groups.annotate(
            answers=Count("message", distinct=True),
            rated=Count("message", distinct=True, filter=Q(message__ratings__isnull=False)),
            up=Count("message__ratings", filter=Q(message__ratings__value=GOOD)),
            down=Count("message__ratings", filter=Q(message__ratings__value=BAD)),
            # As text, which every database can search: a code in its quotes is never part of another.
            **{code: Count("message__ratings", filter=Q(given__contains=f'"{code}"')) for code in CODES},
        )
    }


def _counts(group: Mapping[str, Any]) -> dict[str, Any]:
    reasons = {code: group[code] for code in CODES if group[code]}
    return {"reasons": reasons, **{name: group[name] for name in COUNTS if name != "reasons"}}


def _answers() -> QuerySet[Generation]:
    """The last ended run of every answer that has something to judge."""
    runs = Generation.objects.filter(kind=Generation.Kind.ANSWER, finished_at__isnull=False)
    later = runs.filter(message=OuterRef("message"), finished_at__gt=OuterRef("finished_at"))
    whole = Q(state__in=[Generation.State.DONE, Generation.State.STOPPED])
    answers: QuerySet[Generation] = runs.filter(whole | ~Q(message__text="")).exclude(Exists(later))
    return answers


def _older_days(since: datetime, before: datetime) -> set[date]:
    """Days before ``before`` whose answers were rated or continued after ``since``."""
    runs = Generation.objects.filter(kind=Generation.Kind.ANSWER, finished_at__lt=before)
    rated = RatingEvent.objects.filter(at__gte=since).values("message")
    continued = Generation.objects.filter(kind=Generation.Kind.ANSWER, finished_at__gte=since).values("message")
    # Two statements, not one with OR: each begins at the few recent rows.
    return {
        day
        for messages in (rated, continued)
        for day in runs.filter(message__in=messages).order_by().values_list(DAY, flat=True).distinct()
    }


def _replace(due: set[date], counted: dict[Key, dict[str, Any]], now: datetime) -> int:
    """Write the rows that changed, remove those whose answers are gone, leave the others alone."""
    stored = {_key(row): row for row in DailyRating.objects.filter(day__in=due)}
    changed = [
        _row(key, counts, now)
        for key, counts in counted.items()
        if key not in stored or any(getattr(stored[key], name) != counts[name] for name in COUNTS)
    ]
    DailyRating.objects.bulk_create(
        changed,
        batch_size=1000,
        update_conflicts=True,
        unique_fields=["tenant", "day", "model", "prompt_version"],
        update_fields=[*COUNTS, "updated_at"],
    )
    gone = [row.pk for key, row in stored.items() if key not in counted]
    if gone:
        DailyRating.objects.filter(pk__in=gone).delete()
    return len(changed) + len(gone)


def _key(row: DailyRating) -> Key:
    return (row.tenant_id, row.day, row.model, row.prompt_version)


def _row(key: Key, counts: dict[str, Any], now: datetime) -> DailyRating:
    tenant_id, day, model, version = key
    return DailyRating(tenant_id=tenant_id, day=day, model=model, prompt_version=version, updated_at=now, **counts)


def _ended_on(due: Iterable[date]) -> Q:
    """As ranges of time, which an index serves: one for each run of days in a row."""
    days = sorted(due)
    firsts = [day for day in days if day - timedelta(days=1) not in due]
    lasts = [day for day in days if day + timedelta(days=1) not in due]
    wanted = Q()
    for first, last in zip(firsts, lasts, strict=True):
        end = _midnight(last + timedelta(days=1))
        wanted |= Q(finished_at__gte=_midnight(first), finished_at__lt=end)
    return wanted


def _days_from(first: date, last: date) -> set[date]:
    return {first + timedelta(days=age) for age in range((last - first).days + 1)}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
