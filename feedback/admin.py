"""Ratings and their daily counts in the platform admin: to be read, never edited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from chatapp.common.admin import ReadOnlyAdmin

from .models import DailyRating, Rating, Value
from .reasons import LABELS
from .reports import Counts
from .wording import percent, percent_range


class ModelFilter(admin.SimpleListFilter):
    """By the model that wrote the answer. The choices come from the roll-up, which has few rows."""

    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in DailyRating.objects.models() if name]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(message__model=self.value()) if self.value() else queryset


@admin.register(Rating)
class RatingAdmin(ReadOnlyAdmin):
    list_display = ("given", "comment_start", "reason_names", "written_by", "user", "tenant", "updated_at")
    list_filter = ("value", "updated_at", ModelFilter)
    search_fields = ("comment",)
    ordering = ("-updated_at",)
    show_full_result_count = False
    fields = readonly_fields = (
        *("tenant", "user", "given", "reason_names", "comment"),
        *("written_by", "generation", "created_at", "updated_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("tenant", "user", "message", "generation")

    @display(description="Rating", ordering="value", label={"Good": "success", "Bad": "danger"})
    def given(self, rating: Rating) -> str:
        return Value(rating.value).label

    @display(description="Comment")
    def comment_start(self, rating: Rating) -> str:
        return rating.comment[:80] or "–"

    @display(description="Reasons")
    def reason_names(self, rating: Rating) -> str:
        return ", ".join(LABELS[rating.value][code] for code in rating.reasons) or "–"

    @display(description="Model", ordering="message__model")
    def written_by(self, rating: Rating) -> str:
        return rating.message.model


@admin.register(DailyRating)
class DailyRatingAdmin(ReadOnlyAdmin):
    list_display = ("day", "tenant", "model", "prompt_version", "answers", "rated", "approval", "interval", "response")
    list_filter = ("day", ("model", admin.AllValuesFieldListFilter))
    list_select_related = ("tenant",)
    ordering = ("-day", "tenant", "model")
    fields = readonly_fields = (*list_display, "up", "down", "reasons", "updated_at")

    @display(description="Approval")
    def approval(self, row: DailyRating) -> str:
        return percent(Counts.of([row]).approval.value)

    @display(description="95% interval")
    def interval(self, row: DailyRating) -> str:
        return percent_range(Counts.of([row]).approval.interval)

    @display(description="Response rate")
    def response(self, row: DailyRating) -> str:
        return percent(Counts.of([row]).response.value)
