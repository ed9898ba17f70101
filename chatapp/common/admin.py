"""Kinds of lists and rows in the admin."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import BadRequest, ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.admin import ModelAdmin


class Admin(ModelAdmin):
    """What every list of ours is."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """An address or an action with what cannot be a value is a bad request: a year 0, an id that is none.

        Django says so of most filters itself. The log has the traceback.
        """
        try:
            response: HttpResponse = super().changelist_view(request, extra_context)
        except (ValueError, OverflowError, ValidationError) as error:
            raise BadRequest("That is nothing to look for in this list.") from error
        return response


class KeptAdmin(Admin):
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
