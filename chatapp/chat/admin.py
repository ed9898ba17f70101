"""Conversations and generations in the admin: who, when, how long, how it was made. What people wrote is not shown."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from chatapp.common.admin import ReadOnlyAdmin

from .models import Conversation, Generation


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ("id", "tenant", "user", "message_count", "created_at", "updated_at", "deleted_at")
    list_filter = ("deleted_at",)
    list_select_related = ("tenant", "user")
    search_fields = ("id", "tenant__slug", "user__email")
    fields = ("id", "tenant", "user", "created_at", "updated_at", "deleted_at")
    date_hierarchy = "created_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        return super().get_queryset(request).annotate(message_total=Count("messages"))

    @admin.display(description="Messages", ordering="message_total")
    def message_count(self, conversation: Conversation) -> int:
        return conversation.message_total  # type: ignore[attr-defined]


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "tenant",
        "kind",
        "state",
        "model",
        "prompt_tokens",
        "output_tokens",
        "queue_ms",
        "prefill_ms",
        "decode_ms",
        "created_at",
    )
    list_filter = ("state", "kind", "model", "prompt_version")
    list_select_related = ("tenant",)
    search_fields = ("id", "tenant__slug", "user__email")
    date_hierarchy = "created_at"
