"""What a plan allows, checked before anything is written and settled after everything is.

A request passes the rate, then the number of answers being written, then the day's tokens: prompt
(estimated) and the longest possible answer are reserved, and the real count is settled when it ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from limits import RateLimitItemPerMinute

from chatapp.common.errors import QuotaExceeded, RateLimited, TooManyAnswers

from .limiter import get_limiter
from .models import LedgerEntry, Reservation, Tenant, UsageDay, User, Work


@dataclass(frozen=True, slots=True)
class Usage:
    """A tenant's tokens of today. ``limit`` is None when the plan has none."""

    used: int
    reserved: int
    limit: int | None
    resets_at: datetime
    plan: str

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "resets_at": self.resets_at.isoformat()}


@dataclass(frozen=True, slots=True)
class RequestWindow:
    """Requests of the last minute. ``reset_seconds`` until the oldest of them no longer counts."""

    limit: int
    remaining: int
    reset_seconds: int


def today() -> date:
    return timezone.now().astimezone(UTC).date()


def day_ends(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), clock_time.min, UTC)


def read_usage(tenant: Tenant) -> Usage:
    day = today()
    row = UsageDay.everyone.filter(tenant=tenant, day=day).values_list("used", "reserved").first()
    return _usage(tenant, day, *(row or (0, 0)))


def usage_after(tenant: Tenant, day: date | None, counts: tuple[int, int] | None) -> Usage:
    """Today's, which a settlement that was just made may have told: its day, and what it counted. Else it is read."""
    return _usage(tenant, day, *counts) if counts and day == today() else read_usage(tenant)  # type: ignore[arg-type]


def _usage(tenant: Tenant, day: date, used: int, reserved: int) -> Usage:
    return Usage(used, reserved, tenant.plan.tokens_per_day, day_ends(day), tenant.plan.name)


def check_rate(tenant: Tenant) -> None:
    """Count one request against the plan's requests per minute. Raises ``RateLimited``."""
    allowed = tenant.plan.requests_per_minute
    if allowed is None:
        return
    if not get_limiter().hit(RateLimitItemPerMinute(allowed), "requests", str(tenant.pk)):
        seconds = _window(tenant, allowed).reset_seconds
        message = f"Your plan allows {allowed} messages a minute. Try again in {seconds} s; your draft is kept."
        raise RateLimited(message, retry_after=seconds)


def request_window(tenant: Tenant) -> RequestWindow | None:
    """What is left of the plan's requests a minute; None where it has no such limit."""
    allowed = tenant.plan.requests_per_minute
    return None if allowed is None else _window(tenant, allowed)


def _window(tenant: Tenant, allowed: int) -> RequestWindow:
    stats = get_limiter().window(RateLimitItemPerMinute(allowed), "requests", str(tenant.pk))
    return RequestWindow(allowed, stats.remaining, max(1, math.ceil(stats.reset_time - time.time())))


def check_concurrency(tenant: Tenant, running: int) -> None:
    """Raises ``TooManyAnswers`` when as many answers are being written as the plan allows."""
    allowed = tenant.plan.concurrent_answers
    if running >= allowed:
        noun = "answer" if allowed == 1 else "answers"
        message = f"Your plan writes {allowed} {noun} at a time. Wait for one to end, or stop it; your draft is kept."
        raise TooManyAnswers(message, retry_after=5)


def reserve_tokens(tenant: Tenant, tokens: int, day: date) -> Usage:
    """Set tokens aside from ``day``'s. Returns the usage with them. Raises ``QuotaExceeded``."""
    counts = UsageDay.reserve(tenant_id=tenant.pk, day=day, tokens=tokens, limit=tenant.plan.tokens_per_day)
    if counts is None:
        raise _quota_exceeded(tenant, day)
    return _usage(tenant, day, *counts)


def check_tokens(tenant: Tenant, tokens: int) -> None:
    """Whether today's tokens allow for so many more, before a part of them is set aside. Raises ``QuotaExceeded``."""
    usage = read_usage(tenant)
    if usage.limit is not None and usage.used + usage.reserved + tokens > usage.limit:
        raise _quota_exceeded(tenant, today())


def open_reservations(*, tenant: Tenant, user: User | None, work: Work, tokens: Mapping[UUID, int]) -> None:
    """Set today's tokens aside for jobs that have no generation, by the id of each. Raises ``QuotaExceeded``.

    Not within a transaction: others of the tenant would wait for all that the caller waits for.
    """
    day = today()
    with transaction.atomic(durable=True):
        reserve_tokens(tenant, sum(tokens.values()), day)
        rows = [
            Reservation(id=job, tenant=tenant, user=user, work=work, tokens=count, day=day)
            for job, count in tokens.items()
        ]
        Reservation.everyone.bulk_create(rows)


def settle_reservation(*, job: UUID, model: str, tokens: int) -> bool:
    """Give a reservation back and charge the ``tokens`` that were read. One caller can; the others get False."""
    with transaction.atomic():
        row = Reservation.everyone.filter(pk=job).first()
        if row is None or not Reservation.everyone.filter(pk=job).delete()[0]:
            return False
        if tokens:
            LedgerEntry.everyone.create(
                tenant_id=row.tenant_id,
                generation_id=job,
                user_id=row.user_id,
                work=row.work,
                model=model,
                prompt_tokens=tokens,
                output_tokens=0,
                day=row.day,
            )
        UsageDay.settle(tenant_id=row.tenant_id, day=row.day, reserved=row.tokens, used=tokens)
    return True


def _quota_exceeded(tenant: Tenant, day: date) -> QuotaExceeded:
    resets_at = day_ends(day)
    seconds = max(1, math.ceil((resets_at - timezone.now()).total_seconds()))
    message = (
        f"This would pass today's {tenant.plan.tokens_per_day:,} tokens of the {tenant.plan.name} plan. "
        "They start again at 00:00 UTC; your draft is kept."
    )
    return QuotaExceeded(message, retry_after=seconds, resets_at=resets_at)
