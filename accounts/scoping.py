"""Tenant isolation that fails closed.

Every row that belongs to a tenant is read through ``TenantManager``. It filters by the tenant in
scope, and raises when there is none: forgetting the scope is an error, never a leak. The scope is
set at five doors only: the request middleware, an API key, the consumer's dispatch, a Celery task, a
management command. ``all_tenants()`` is the explicit word for work across tenants (sweeps, roll-ups, the admin).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Literal
from uuid import UUID

from django.db import models

Scope = UUID | Literal["all"] | None
_scope: ContextVar[Scope] = ContextVar("tenant_scope", default=None)


class NoTenantScope(RuntimeError):
    """Tenant rows were asked for outside every scope. A programming error, never shown to a person."""


@contextmanager
def tenant_scope(tenant_id: UUID) -> Iterator[None]:
    """Within, tenant rows are those of this tenant alone."""
    with _set(tenant_id):
        yield


@contextmanager
def all_tenants() -> Iterator[None]:
    """Within, tenant rows are those of every tenant. For platform work only."""
    with _set("all"):
        yield


@contextmanager
def _set(scope: Scope) -> Iterator[None]:
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)


def enter_scope(scope: Scope) -> None:
    """Set the scope until someone sets another: for the middleware, which is called in two halves."""
    _scope.set(scope)


def current_scope() -> Scope:
    return _scope.get()


class TenantManager(models.Manager[Any]):
    """Rows of the tenant in scope. Raises ``NoTenantScope`` when no scope is set."""

    def get_queryset(self) -> models.QuerySet[Any]:
        scope = _scope.get()
        if scope is None:
            raise NoTenantScope(f"{self.model.__name__} was read with no tenant in scope")
        rows = super().get_queryset()
        return rows if scope == "all" else rows.filter(tenant_id=scope)


class TenantModel(models.Model):
    """A row that belongs to one tenant. Relations from a row already in hand are followed unfiltered."""

    tenant = models.ForeignKey("accounts.Tenant", on_delete=models.CASCADE, related_name="+", verbose_name="workspace")

    everyone: ClassVar[models.Manager[Any]] = models.Manager()
    objects: ClassVar[Any] = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "everyone"
        default_manager_name = "objects"
