"""Conversations and generations in the admin: who, when, how long, how it was made. What people wrote is not shown."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from accounts.owned_admin import OwnedAdmin
from chatapp.common.admin_lists import ExactFilter, MadeFilter

from .models import Conversation, Generation, Message


@admin.register(Conversation)
class ConversationAdmin(OwnedAdmin):
    list_display = ("id", "tenant", "user", "message_count", "created_at", "updated_at", "deleted_at")
    list_filter = (MadeFilter, ("deleted_at", admin.EmptyFieldListFilter))
    list_select_related = ("tenant", "user")
    fields = ("id", "tenant", "user", "created_at", "updated_at", "deleted_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """Messages are counted for the rows of a page, not for all."""
        mine = Message.objects.filter(conversation=OuterRef("pk")).order_by().values("conversation")
        count = Subquery(mine.annotate(count=Count("pk")).values("count"))
        return super().get_queryset(request).annotate(message_total=Coalesce(count, 0))

    @admin.display(description="Messages")
    def message_count(self, conversation: Conversation) -> int:
        return conversation.message_total  # type: ignore[attr-defined]


@admin.register(Generation)
class GenerationAdmin(OwnedAdmin):
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
    list_filter = (MadeFilter, "state", "kind", ("model", ExactFilter), ("prompt_version", ExactFilter))
    list_select_related = ("tenant",)
