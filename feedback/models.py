"""Rating, RatingEvent, DailyRating, RollUp: what people said of answers, and the counts the reports read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.scoping import TenantManager, TenantModel
from chatapp.chat.models import Message
from chatapp.common.ids import uuid7

from .reasons import BAD, GOOD


class Value(models.IntegerChoices):
    """The thumb that was given."""

    UP = GOOD, "Good"
    DOWN = BAD, "Bad"


class RatingQuerySet(models.QuerySet["Rating"]):
    def of(self, user_id: UUID, messages: Iterable[Message]) -> dict[UUID, Rating]:
        """One person's ratings of ``messages``, by message."""
        return {rating.message_id: rating for rating in self.filter(user=user_id, message__in=messages)}


class Rating(TenantModel):
    """One person's current opinion of one answer. Its history is in ``RatingEvent``.

    ``generation`` is the run that had written the answer when it was rated: how it was made explains
    the rating, even after the answer was continued by another.
    """

    COMMENT_LIMIT = 2000  # characters

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey("chat.Message", on_delete=models.CASCADE, related_name="ratings")
    generation = models.ForeignKey("chat.Generation", on_delete=models.CASCADE, related_name="ratings")
    value = models.SmallIntegerField(choices=Value.choices)
    reasons = models.JSONField(default=list, blank=True, help_text="Codes of feedback.reasons.")
    comment = models.CharField(max_length=COMMENT_LIMIT, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[Any] = TenantManager.from_queryset(RatingQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ("-updated_at",)
        constraints = (
            models.UniqueConstraint(fields=("user", "message"), name="one_rating_per_person"),
            models.CheckConstraint(condition=Q(value__in=[GOOD, BAD]), name="rating_value_known"),
        )
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["tenant", "-updated_at"], condition=~Q(comment=""), name="latest_comments")
        ]

    def __str__(self) -> str:
        return f"{self.get_value_display()}: {self.comment[:60]}" if self.comment else self.get_value_display()

    def as_json(self) -> dict[str, Any]:
        """The ``rating`` of docs/protocol.md."""
        return {"value": self.value, "reasons": self.reasons, "comment": self.comment}

    def change(self, **given: Any) -> bool:
        """Take over the fields ``given``. False when they are what they were; then nothing is written."""
        if all(getattr(self, name) == new for name, new in given.items()):
            return False
        for name, new in given.items():
            setattr(self, name, new)
        self.save(update_fields=[*given, "updated_at"])
        return True


class RatingEvent(TenantModel):
    """What was given, changed or taken back, and when. Rows are only ever added."""

    class Kind(models.TextChoices):
        RATED = "rated", "Rated"
        CHANGED = "changed", "Changed"
        UNDONE = "undone", "Undone"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    message = models.ForeignKey("chat.Message", on_delete=models.CASCADE, related_name="rating_events")
    generation = models.ForeignKey("chat.Generation", on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=7, choices=Kind.choices)
    value = models.SmallIntegerField(choices=Value.choices)
    reasons = models.JSONField(default=list)
    comment = models.CharField(max_length=Rating.COMMENT_LIMIT, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta(TenantModel.Meta):
        ordering = ("at", "id")
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["at"], name="rating_events_by_time")]

    def __str__(self) -> str:
        return f"{self.kind} {self.get_value_display()}"

    @classmethod
    def record(cls, kind: str, rating: Rating) -> RatingEvent:
        """Note that ``rating`` was given, is now this, or was this until it was taken back."""
        same = ("tenant_id", "user_id", "message_id", "generation_id", "value", "reasons", "comment")
        event: RatingEvent = cls.objects.create(kind=kind, **{name: getattr(rating, name) for name in same})
        return event


class DailyRatingQuerySet(models.QuerySet["DailyRating"]):
    def between(self, first: date, last: date) -> DailyRatingQuerySet:
        return self.filter(day__range=(first, last))

    def of_model(self, model: str) -> DailyRatingQuerySet:
        """Those of one model; of every model when ``model`` is empty."""
        return self.filter(model=model) if model else self

    def models(self) -> list[str]:
        return list(self.order_by("model").values_list("model", flat=True).distinct())


class DailyRating(TenantModel):
    """Counts of one tenant, UTC day, model and prompt version. Made by the roll-up; never edited.

    ``day`` is the day an answer ended, not the day it was rated. ``answers`` counts answers, ``rated``
    those that have a rating, ``up`` and ``down`` ratings. A day without answers has no row.
    """

    day = models.DateField()
    model = models.CharField(max_length=200)
    prompt_version = models.CharField(max_length=20)
    answers = models.PositiveIntegerField()
    rated = models.PositiveIntegerField()
    up = models.PositiveIntegerField()
    down = models.PositiveIntegerField()
    reasons = models.JSONField(default=dict, help_text="How often each reason was given.")
    updated_at = models.DateTimeField(help_text="When these counts last changed.")

    objects: ClassVar[Any] = TenantManager.from_queryset(DailyRatingQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ("-day", "model", "prompt_version")
        verbose_name = "daily roll-up"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "day", "model", "prompt_version"), name="one_roll_up_per_day_and_model"
            ),
        )
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["day"], name="roll_ups_by_day")]

    def __str__(self) -> str:
        return f"{self.model} on {self.day}"


class RollUp(models.Model):
    """When the counts were last made: one row for the whole installation, locked while they are."""

    name = models.CharField(primary_key=True, max_length=20)
    counted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name} at {self.counted_at}"

    @classmethod
    def lock(cls) -> RollUp:
        """The row, held until the transaction ends."""
        return cls.objects.select_for_update().get_or_create(name="ratings")[0]

    @classmethod
    def last(cls) -> datetime | None:
        """When ratings were last counted; None when they never were."""
        return cls.objects.filter(name="ratings").values_list("counted_at", flat=True).first()
