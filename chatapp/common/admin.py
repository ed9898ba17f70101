"""Kinds of rows in the admin: those that several edit, that nobody edits there, that take others with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

from django import forms
from django.contrib.admin import ShowFacets
from django.core.exceptions import BadRequest, ValidationError
from django.db import connection, router
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector, ProtectedError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.admin import ModelAdmin

from .admin_lists import EstimatingPaginator

MEANWHILE = "Somebody else has changed this since the page was opened"


class ChangedFieldsForm(forms.ModelForm):  # type: ignore[type-arg]
    """Writes what was changed on this page, compared with what the page showed, and nothing else: what somebody else
    has changed since then stays. Where both have changed one field, this one is told, and shown what it is now.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.show_hidden_initial = not self.is_bound or self.add_initial_prefix(name) in self.data

    def clean(self) -> dict[str, Any] | None:
        data = super().clean()
        for name in self.changed_data if self.instance.pk else ():
            if self._was_changed_meanwhile(name):
                self.add_error(name, f"{MEANWHILE}: it is {self._shown_now(name)} now. Save again to change it.")
                self._show_as_now(name)
        return data

    def _was_changed_meanwhile(self, name: str) -> bool:
        """It is neither what the page showed nor what it is to become."""
        field, bound = self.fields[name], self[name]
        if not field.show_hidden_initial:
            return False
        now = self.get_initial_for_field(field, name)
        shown = self._widget_data_value(field.hidden_widget(), bound.html_initial_name)  # type: ignore[attr-defined]
        return field.has_changed(now, shown) and field.has_changed(now, bound.data)

    def _shown_now(self, name: str) -> str:
        now = self.get_initial_for_field(self.fields[name], name)
        return "empty" if now in (None, "", []) else f"“{now}”"

    def _show_as_now(self, name: str) -> None:
        """The page that comes back has shown it."""
        now = self[name].field.prepare_value(self.get_initial_for_field(self.fields[name], name))
        data: Any = self.data
        self.data = data = data.copy()
        data[self[name].html_initial_name] = "" if now is None else now

    def changed_columns(self) -> list[str]:
        """Of the row: the changed ones, and those that note the time of a change."""
        columns = {field.name: field for field in self._meta.model._meta.concrete_fields}
        changed = [name for name in self.changed_data if name in columns]
        noted = [name for name, field in columns.items() if getattr(field, "auto_now", False)]
        return [*changed, *noted] if changed else []

    def save(self, commit: bool = True) -> Any:
        """As an inline form is saved; the form of a page is saved by ``CarefulAdmin.save_model``."""
        if not commit or self.instance._state.adding or self.errors:
            return super().save(commit)
        self.instance.save(update_fields=self.changed_columns())
        self._save_m2m()  # type: ignore[attr-defined]  # the stubs do not have it
        return self.instance


class CarefulAdmin(ModelAdmin):
    """Rows that several may change at once, and of which there may be many."""

    form = ChangedFieldsForm
    paginator = EstimatingPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # each would count all rows
    list_per_page = 50  # what takes long by now is to draw them

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """For a form that is sent the row is held, so that of two who save it the second sees what the first did."""
        found = super().get_object(request, object_id, from_field)
        if found is not None and request.method == "POST" and connection.in_atomic_block:
            self.model._base_manager.select_for_update().filter(pk=found.pk).first()
            found.refresh_from_db()
        return found

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.save(update_fields=form.changed_columns() if change else None)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """An address or an action with what cannot be a value is a bad request: a year 0, an id that is none.

        Django says so of most filters itself. The log has the traceback.
        """
        try:
            response: HttpResponse = super().changelist_view(request, extra_context)
        except (ValueError, OverflowError, ValidationError) as error:
            raise BadRequest("That is nothing to look for in this list.") from error
        return response


class KeptAdmin(CarefulAdmin):
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


class ErasableAdmin(CarefulAdmin):
    """Rows that take all that belongs to them along. The page that asks for confirmation counts it: to list it would
    take as long as there are rows, and show what people wrote.
    """

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What Django's gives: names, counts by kind, kinds that this admin may not delete, what forbids it."""
        rows = list(objs)
        collector = Collector(using=router.db_for_write(self.model))
        try:
            collector.collect(rows)
        except ProtectedError as error:
            return [], {}, set(), sorted(map(str, error.protected_objects))
        counts = _count(collector)
        lacking = {str(model._meta.verbose_name) for model in counts if not self._may_delete(request, model)}
        by_name = {str(model._meta.verbose_name_plural): count for model, count in counts.items()}
        return list(map(str, rows)), by_name, lacking, []

    def _may_delete(self, request: HttpRequest, model: type[Model]) -> bool:
        """Kinds without pages of their own go with what they belong to."""
        if not self.admin_site.is_registered(model):
            return True
        return bool(self.admin_site.get_model_admin(model).has_delete_permission(request))


def _count(collector: Collector) -> Counter[type[Model]]:
    """How many of each kind; those that the collector had no need to read are counted by the database."""
    counts: Counter[type[Model]] = Counter({model: len(rows) for model, rows in collector.data.items()})
    by_kind: dict[type[Model], list[QuerySet[Any]]] = defaultdict(list)
    for rows in collector.fast_deletes:
        by_kind[rows.model].append(rows)
    for model, found in by_kind.items():  # the same row may be found by several ways
        counts[model] += reduce(or_, found).count()
    return +counts
