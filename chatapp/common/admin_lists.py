"""What a list of the admin needs once it has a million rows: nothing in it reads them all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from unfold.contrib.filters.admin.text_filters import FieldTextFilter, TextFilter

from .ids import first_id

MOST_COUNTED = 10_000


class EstimatingPaginator(Paginator):  # type: ignore[type-arg]
    """Counts as far as anybody leafs. Beyond that a whole table has as many rows as PostgreSQL's last ``ANALYZE``
    found, and a filtered list shows its first ``MOST_COUNTED`` rows and one.
    """

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        counted = rows.order_by().values("pk")[: MOST_COUNTED + 1].count()
        if counted <= MOST_COUNTED or rows.query.where:
            return counted
        return max(counted, _rows_of(rows))


def _rows_of(rows: QuerySet[Any]) -> int:
    """Of the whole table; -1 before PostgreSQL has ever looked."""
    connection = connections[rows.db]
    if connection.vendor != "postgresql":
        return rows.count()
    table = connection.ops.quote_name(rows.model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute("select reltuples::bigint from pg_class where oid = to_regclass(%s)", [table])
        (estimate,) = cursor.fetchone()
    return int(estimate)


class MadeFilter(admin.SimpleListFilter):
    """When a row was made, by its id: they grow with time, and have an index."""

    title = "age"
    parameter_name = "made"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Past 24 hours"), ("7", "Past 7 days"), ("30", "Past 30 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        days = {choice: int(choice) for choice, _ in self.lookup_choices}.get(self.value() or "")
        return queryset.filter(pk__gte=first_id(timezone.now() - timedelta(days=days))) if days else queryset


class ExactFilter(FieldTextFilter):
    """A box for the exact value of a field: to offer every value there is would mean to look through all rows."""

    def __init__(
        self, field: Any, request: HttpRequest, params: Any, model: Any, model_admin: Any, field_path: str
    ) -> None:
        self.lookup_kwarg = field_path
        self.lookup_val = params.get(field_path)
        admin.FieldListFilter.__init__(self, field, request, params, model, model_admin, field_path)


class ValueFilter(TextFilter):
    """The same for what is not a field of the row: ``title``, ``parameter_name``, and ``lookup`` to filter by."""

    lookup: str

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.lookup: self.value()}) if self.value() else queryset
