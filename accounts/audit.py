"""What needed a right leaves an event: who, what, to whom, before and after, from where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model

from .models import AuditEvent

LONGEST_AGENT = 200


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an act comes from: a person at an address with some program; nothing of a task or a command."""

    actor: UUID | None = None
    address: str | None = None
    agent: str = ""


NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("audit_origin", default=NOWHERE)


@contextmanager
def acting_from(origin: Origin) -> Iterator[None]:
    """Within, what is done comes from there. Entered by the middleware; see ``scoping`` for the like."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


def record_act(
    act: str,
    *,
    tenant: UUID | None,
    thing: Model | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    actor: UUID | None = None,
) -> AuditEvent:
    """Write an event, in the transaction of what it tells of. ``actor``: where nobody is logged in, or another acts.

    ``before`` and ``after`` hold no names, addresses or texts of people: ids, roles, numbers, settings.
    """
    origin = _origin.get()
    return AuditEvent.objects.create(
        tenant_id=tenant,
        actor_id=actor or origin.actor,
        act=act,
        object_kind=thing._meta.model_name or "" if thing else "",
        object_id=str(thing.pk) if thing else "",
        before=dict(before or {}),
        after=dict(after or {}),
        address=origin.address,
        agent=origin.agent[:LONGEST_AGENT],
    )
