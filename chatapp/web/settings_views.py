"""The settings pages: they show what is saved, and save through the API as one types."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.models import Preferences, Tenant, UsageDay, User
from accounts.quotas import read_usage, today
from chatapp.queue.available_models import live_workers, models_json

DAYS_SHOWN = 14


@require_safe
@login_required
def general(request: HttpRequest) -> HttpResponse:
    return render(request, "web/settings_general.html", _context(request))


@require_safe
@login_required
def personalization(request: HttpRequest) -> HttpResponse:
    return render(request, "web/settings_personalization.html", _context(request))


@require_safe
@login_required
def usage(request: HttpRequest) -> HttpResponse:
    """Usage of one workspace: ``?workspace=slug``, or the person's first."""
    user: User = request.user  # type: ignore[assignment]
    tenants = Tenant.objects.of(user).select_related("plan")
    tenant = tenants.filter(slug=request.GET.get("workspace", "")).first() or tenants.first()
    context = _context(request)
    if tenant is not None:
        context |= {
            "tenant": tenant,
            "plan": tenant.plan,
            "usage": read_usage(tenant),
            "days": usage_by_day(tenant),
        }
    return render(request, "web/settings_usage.html", context)


def usage_by_day(tenant: Tenant) -> list[dict[str, Any]]:
    """The last days, newest first. ``tokens`` and ``requests`` are None on a day without use."""
    days = [today() - timedelta(days=age) for age in range(DAYS_SHOWN)]
    rows = {row.day: row for row in UsageDay.everyone.filter(tenant=tenant, day__gte=days[-1])}
    return [{"day": day, **_counts(rows.get(day))} for day in days]


def _counts(row: UsageDay | None) -> dict[str, int | None]:
    return {"tokens": row.used if row else None, "requests": row.requests if row else None}


def _context(request: HttpRequest) -> dict[str, Any]:
    user: User = request.user  # type: ignore[assignment]
    limit = Preferences.INSTRUCTIONS_LIMIT
    return {
        "preferences": user.preferences,
        "limits": {"about": limit, "style": limit},
        "models": models_json(live_workers()),
    }
