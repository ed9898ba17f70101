"""Generations in the admin: how every answer was made, without what it says."""

from __future__ import annotations

from django.contrib import admin

from accounts.admin import ReadOnlyAdmin

from .models import Generation


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
