"""The reports page and its export, for owners, admins and analysts of a workspace."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.permissions import require_reports
from accounts.quotas import today
from chatapp.common.errors import Forbidden

from .chart import draw_chart
from .models import DailyRating, RollUp
from .reasons import BAD, GOOD, LABELS
from .reports import RANGES, Counts, Period, latest_comments, read_report
from .statistics import ENOUGH
from .wording import freshness

DEFAULT_RANGE = 28
View = Callable[[HttpRequest], HttpResponse]


def reports_only(view: View) -> View:
    """Answers 403 to members whose role has no reports."""

    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        try:
            require_reports(request.membership)  # type: ignore[attr-defined]
        except Forbidden as error:
            return render(request, "403.html", {"error": error}, status=403)
        return view(request)

    return checked


@require_safe
@reports_only
def report(request: HttpRequest) -> HttpResponse:
    """``?days=7|28|90&model=name``: the period ends today."""
    period, model = _asked(request)
    found = read_report(period=period, model=model)
    context = {
        "report": found,
        "chart": draw_chart(period, found.by_day),
        "bad_reasons": found.reasons(BAD),
        "good_reasons": found.reasons(GOOD),
        "comments": latest_comments(period=period, model=model),
        "ranges": RANGES,
        "enough": ENOUGH,
        "freshness": freshness(RollUp.last(), _pace(), timezone.now()),
    }
    return render(request, "feedback/report.html", context)


@require_safe
@reports_only
def export(request: HttpRequest) -> HttpResponse:
    """The report's counts as CSV, a row for each day, model and prompt version, oldest first."""
    period, model = _asked(request)
    rows = DailyRating.objects.of_model(model).between(period.first, period.last)
    slug = request.membership.tenant.slug  # type: ignore[attr-defined]
    name = f"ratings-{slug}-{period.first}-{period.last}.csv"
    response = HttpResponse(
        content_type="text/csv; charset=utf-8", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
    writer = csv.writer(response)
    writer.writerow(CSV_COLUMNS)
    writer.writerows(_csv_row(row) for row in rows.order_by("day", "model", "prompt_version"))
    return response


_REASONS = [(prefix, code) for prefix, value in (("bad", BAD), ("good", GOOD)) for code in LABELS[value]]
CSV_COLUMNS = [
    *("day_utc", "model", "prompt_version", "answers", "answers_rated", "good", "bad"),
    *("approval", "approval_low_95", "approval_high_95", "response_rate"),
    *(f"{prefix}_{code}" for prefix, code in _REASONS),
]


def _csv_row(row: DailyRating) -> list[Any]:
    """Shares from 0 to 1 with four decimals; empty where there is nothing to divide."""
    counts = Counts.of([row])
    interval = counts.approval.interval
    ends = (interval.low, interval.high) if interval else (None, None)
    shares = [counts.approval.value, *ends, counts.response.value]
    return [
        *(row.day.isoformat(), row.model, row.prompt_version, row.answers, row.rated, row.up, row.down),
        *("" if share is None else f"{share:.4f}" for share in shares),
        *(counts.reasons[code] for _, code in _REASONS),
    ]


def _asked(request: HttpRequest) -> tuple[Period, str]:
    days = request.GET.get("days", str(DEFAULT_RANGE))
    if days not in map(str, RANGES):
        raise BadRequest(f"days is not one of {RANGES}")
    return Period.ending(today(), int(days)), request.GET.get("model", "")


def _pace() -> timedelta:
    schedule: dict[str, dict[str, Any]] = settings.CELERY_BEAT_SCHEDULE
    return timedelta(seconds=schedule["roll-up-ratings"]["schedule"])
