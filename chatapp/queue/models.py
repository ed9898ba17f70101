"""OfferedModel: what the operator says of a model that workers serve."""

from __future__ import annotations

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from chatapp.common.ids import uuid7


class OfferedModel(models.Model):
    """Settings for the answers of one model. Empty ones are left to the model; a request's own come before these.

    A model needs no row to be served. An admin edits these rows.
    """

    SAMPLING = ("temperature", "top_p", "top_k", "min_p")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200, unique=True, help_text="As its workers name it, and `GET /v1/models`.")
    position = models.PositiveSmallIntegerField(
        default=0, help_text="Whoever has chosen no model gets the one with the lowest position that is served."
    )
    temperature = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(2)],
        help_text="0 to 2. 0 always takes the likeliest word; more is more varied.",
    )
    top_p = models.FloatField(
        "top-p",
        null=True,
        blank=True,
        validators=[MinValueValidator(0.000_001), MaxValueValidator(1)],
        help_text="Above 0, to 1. Draws from the likeliest words that together have this probability.",
    )
    top_k = models.PositiveIntegerField(
        "top-k", null=True, blank=True, help_text="Draws from this many of the likeliest words; 0 is no limit."
    )
    min_p = models.FloatField(
        "min-p",
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="0 to 1. Leaves out words less likely than this share of the likeliest.",
    )

    class Meta:
        ordering = ("position", "name")
        verbose_name = "model on offer"
        verbose_name_plural = "models on offer"
        constraints = (
            models.CheckConstraint(
                condition=Q(temperature=None) | Q(temperature__range=(0, 2)), name="offer_temperature"
            ),
            models.CheckConstraint(condition=Q(top_p=None) | Q(top_p__gt=0, top_p__lte=1), name="offer_top_p"),
            models.CheckConstraint(condition=Q(min_p=None) | Q(min_p__range=(0, 1)), name="offer_min_p"),
        )

    def __str__(self) -> str:
        return self.name

    def sampling(self) -> dict[str, Any]:
        """The settings that are stated, by ``inference.messages.Sampling``'s names."""
        return {name: value for name in self.SAMPLING if (value := getattr(self, name)) is not None}
