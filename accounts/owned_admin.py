"""Lists of rows that belong to workspaces and people, of which there may be millions."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from chatapp.common.admin import ReadOnlyAdmin

from .models import Tenant, User

MOST_OWNERS = 200  # whose addresses begin alike; a longer beginning finds the others


class OwnedAdmin(ReadOnlyAdmin):
    """Found by id, or by the beginning of an address: each has an index. Newest first, by id."""

    ordering = ("-pk",)
    search_fields = ("id",)  # so that there is a box
    search_help_text = "An id, or the beginning of an e-mail address or of a workspace's address"
    ids: ClassVar[tuple[str, ...]] = ("pk", "user", "tenant")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.strip().lower()
        return (queryset.filter(self._found(words)) if words else queryset), False

    def _found(self, words: str) -> Q:
        try:
            key = UUID(words)
        except ValueError:
            return self.by_words(words)
        return Q(*((name, key) for name in self.ids), _connector=Q.OR)

    def by_words(self, words: str) -> Q:
        """Of the workspaces and people whose addresses begin so."""
        owners: dict[str, QuerySet[Any]] = {"tenant": Tenant.objects.filter(slug__startswith=words)}
        if "user" in self.ids:
            owners["user"] = User.objects.filter(email__startswith=words)
        found = {name: list(rows.values_list("pk", flat=True)[:MOST_OWNERS]) for name, rows in owners.items()}
        return Q(*((f"{name}__in", keys) for name, keys in found.items()), _connector=Q.OR)
