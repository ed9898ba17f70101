"""Kinds of rows in the admin that nobody edits there."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from unfold.admin import ModelAdmin


class KeptAdmin(ModelAdmin):
    """Rows that stay."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not here; but with the person or the workspace they belong to, which are deleted on pages of their own."""
        here = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return not request.path.startswith(here) and super().has_delete_permission(request, obj)


class ReadOnlyAdmin(KeptAdmin):
    """Rows that the product writes and nobody edits."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
