"""Plan, UsageDay, Reservation, LedgerEntry: what a tenant may use, uses, and used."""

from __future__ import annotations

import math
from datetime import date
from typing import Any, ClassVar
from uuid import UUID

from django.db import connection, models
from django.db.models import Q

from accounts.scoping import TenantModel
from chatapp.common.ids import uuid7


class Plan(models.Model):
    """What a tenant may use. Empty limits mean no limit. An admin edits these rows."""

    code = models.SlugField(unique=True, max_length=20)
    name = models.CharField(max_length=40)
    position = models.PositiveSmallIntegerField(
        default=0, help_text="Where it stands in a list; the lowest is shed first."
    )
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_day = models.PositiveIntegerField(null=True, blank=True, help_text="Prompt and answer, per workspace.")
    concurrent_answers = models.PositiveSmallIntegerField(default=2, help_text="Answers being written at once.")
    weight = models.PositiveSmallIntegerField(default=1, help_text="Share of a busy GPU against other workspaces.")
    longest_wait = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=120,
        help_text="Seconds a new message may be expected to wait for its turn; beyond that it is refused.",
    )
    max_context_tokens = models.PositiveIntegerField(default=8192, help_text="Longest prompt.")
    max_output_tokens = models.PositiveIntegerField(default=1024, help_text="Longest answer.")

    class Meta:
        ordering = ("position",)
        constraints = (
            models.CheckConstraint(condition=Q(weight__gte=1), name="plan_weight_positive"),
            models.CheckConstraint(condition=Q(concurrent_answers__gte=1), name="plan_concurrency_positive"),
            models.CheckConstraint(condition=Q(max_output_tokens__gte=1), name="plan_output_positive"),
        )

    def __str__(self) -> str:
        return self.name

    def patience(self) -> float:
        """Seconds a message may wait: never less than in a plan below, so that the lowest is shed first."""
        waits = Plan.objects.filter(position__lte=self.position).values_list("longest_wait", flat=True)
        return max((math.inf if wait is None else wait for wait in waits), default=math.inf)


# PostgreSQL and SQLite alike. The row is locked from here on, whoever made it.
RESERVE = """
    INSERT INTO {table} AS day (tenant_id, day, used, reserved, requests)
    SELECT %s, %s, 0, %s, 1 WHERE CAST(%s AS bigint) IS NULL OR %s <= %s
    ON CONFLICT (tenant_id, day) DO UPDATE
    SET reserved = day.reserved + excluded.reserved, requests = day.requests + 1
    WHERE CAST(%s AS bigint) IS NULL OR day.used + day.reserved + excluded.reserved <= %s
    RETURNING used, reserved
"""
SETTLE = """
    UPDATE {table} SET reserved = reserved - %s, used = used + %s WHERE tenant_id = %s AND day = %s
    RETURNING used, reserved
"""


class UsageDay(TenantModel):
    """One tenant's tokens of one UTC day: reserved by answers being written, used by those written."""

    day = models.DateField()
    used = models.PositiveBigIntegerField(default=0)
    reserved = models.PositiveBigIntegerField(default=0)
    requests = models.PositiveIntegerField(default=0)

    class Meta(TenantModel.Meta):
        ordering = ("-day",)
        verbose_name = "day of usage"
        verbose_name_plural = "days of usage"
        constraints = (models.UniqueConstraint(fields=("tenant", "day"), name="one_usage_row_per_day"),)

    def __str__(self) -> str:
        return f"{self.tenant_id} on {self.day}"

    @classmethod
    def reserve(cls, *, tenant_id: UUID, day: date, tokens: int, limit: int | None) -> tuple[int, int] | None:
        """Set ``tokens`` aside in one atomic statement, the day's first included. Returns what is used and reserved
        now; None when they would pass ``limit``.
        """
        return cls._count(RESERVE, [*_names(tenant_id, day), tokens, limit, tokens, *[limit] * 3])

    @classmethod
    def settle(cls, *, tenant_id: UUID, day: date, reserved: int, used: int) -> tuple[int, int] | None:
        """Turn a reservation into what was really used, in one atomic statement. Returns as ``reserve`` does; None when
        there is no such day.
        """
        return cls._count(SETTLE, [reserved, used, *_names(tenant_id, day)])

    @classmethod
    def _count(cls, sql: str, values: list[Any]) -> tuple[int, int] | None:
        with connection.cursor() as cursor:
            cursor.execute(sql.format(table=cls._meta.db_table), values)
            found: tuple[int, int] | None = cursor.fetchone()
        return found


def _names(tenant_id: UUID, day: date) -> list[Any]:
    """Of a row, as this database keeps them."""
    return [models.UUIDField().get_db_prep_value(tenant_id, connection), connection.ops.adapt_datefield_value(day)]


class Work(models.TextChoices):
    """What tokens are used for."""

    ANSWER = "answer", "Answer"
    EMBEDDING = "embedding", "Embedding"


class Reservation(TenantModel):
    """Tokens of a day set aside for a job that has no generation, until it is settled. ``id`` is the job's.

    One that is left belongs to somebody who has gone in the midst of it; the sweep settles it.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    user = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    work = models.CharField(max_length=10, choices=Work)
    tokens = models.PositiveIntegerField()
    day = models.DateField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ("created_at",)
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["created_at"], name="oldest_reservations")]

    def __str__(self) -> str:
        return f"{self.tokens} tokens of {self.day}"


class LedgerEntry(TenantModel):
    """What one generation, or one job of other work, used. Written once, never changed: the sum of a day is its
    ``used``.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    generation_id = models.UUIDField(unique=True)
    user = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    work = models.CharField(max_length=10, choices=Work, default=Work.ANSWER, db_default=Work.ANSWER)
    model = models.CharField(max_length=200)
    prompt_tokens = models.PositiveIntegerField()
    cached_tokens = models.PositiveIntegerField(default=0, help_text="Of the prompt, found in the prefix cache.")
    output_tokens = models.PositiveIntegerField()
    day = models.DateField(help_text="The day of the reservation, which pays.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ("-created_at",)
        verbose_name_plural = "ledger entries"
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["tenant", "day"])]

    def __str__(self) -> str:
        return f"{self.prompt_tokens} + {self.output_tokens} tokens"
