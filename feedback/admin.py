"""Ratings and their daily counts in the platform admin: to be read, never edited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from accounts.owned_admin import OwnedAdmin
from chatapp.common.admin import ReadOnlyAdmin
from chatapp.common.admin_lists import ExactFilter, MadeFilter, ValueFilter

from .models import DailyRating, Rating, Value
from .reasons import LABELS
from .reports import Counts
from .wording import percent, percent_range


class ModelFilter(ValueFilter):
    """By the model that wrote the answer."""

    title, parameter_name, lookup = "model", "model", "message__model"


@admin.register(Rating)
class RatingAdmin(OwnedAdmin):
    list_display = ("given", "comment_start", "reason_names", "written_by", "user", "tenant", "updated_at")
    list_filter = ("value", MadeFilter, ModelFilter)
    search_help_text = "An id, the beginning of an e-mail address or of a workspace's address, or words of a comment"
    fields = readonly_fields = (
        *("tenant", "user", "given", "reason_names", "comment"),
        *("written_by", "generation", "created_at", "updated_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).select_related("tenant", "user", "message", "generation")
        return rows.defer("message__text")

    def by_words(self, words: str) -> Q:
        """Comments, too: few answers have one."""
        return super().by_words(words) | Q(comment__icontains=words)

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
    list_filter = ("day", ("model", ExactFilter))
    list_select_related = ("tenant",)
    ordering = ("-day", "-pk")
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
