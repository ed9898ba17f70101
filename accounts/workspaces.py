"""Workspaces: made, changed, closed with days of grace, brought back, and then really gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from chatapp.common.errors import BadRequest, Forbidden, NotFound
from chatapp.common.text import one_line

from .audit import record_act
from .models import Membership, Plan, Role, Tenant, User
from .models.people import Act
from .permissions import require
from .second_factor import has_second_factor
from .services import begin_erasing, make_tenant

SETTINGS = (
    *("name", "accent", "welcome", "starters", "instructions", "allowed_models", "retention_days"),
    *("collects_feedback", "who_invites", "requires_mfa"),
)
OWN_FIRST = "Set up a second factor of your own first; without it you would shut yourself out."
LONGEST_NAME = 80  # characters
WRITTEN = frozenset({"name", "welcome", "starters", "instructions"})  # by people: the log says that, not what


def create_workspace(*, user: User, name: str) -> Membership:
    """A workspace that ``user`` owns, on the operator's default plan.

    Raises ``BadRequest`` without a name, ``Forbidden`` where they own as many as the operator lets them.
    """
    owned = Membership.objects.filter(user=user, role=Role.OWNER, tenant__personal=False)
    if owned.count() >= settings.CHATAPP_WORKSPACES_PER_PERSON:
        raise Forbidden("You own as many workspaces as this server allows. Ask whoever runs it for more.")
    name = one_line(name, LONGEST_NAME)
    if not name:
        raise BadRequest("Give the workspace a name.", fields={"name": ["Write a name."]})
    with transaction.atomic():
        tenant = make_tenant(name, Plan.objects.get(code=settings.CHATAPP_DEFAULT_PLAN), personal=False)
        membership: Membership = Membership.objects.create(user=user, tenant=tenant, role=Role.OWNER)
        record_act("workspace.created", tenant=tenant.pk, thing=tenant)
    return membership


def change_workspace(*, by: Membership, **changes: Any) -> Tenant:
    """Save the settings that changed. Raises ``BadRequest`` with the fields that are wrong."""
    require(by, Act.CHANGE_SETTINGS)
    tenant: Tenant = Tenant.objects.get(pk=by.tenant_id)
    if "name" in changes:
        changes["name"] = one_line(str(changes["name"]), LONGEST_NAME)
    before = {name: getattr(tenant, name) for name in changes}
    for name, value in changes.items():
        setattr(tenant, name, value)
    try:
        tenant.clean_fields(exclude=[field.name for field in Tenant._meta.fields if field.name not in changes])
    except ValidationError as error:
        raise BadRequest("Some of these settings cannot be saved.", fields=error.message_dict) from None
    if changes.get("requires_mfa") and not has_second_factor(by.user):
        raise BadRequest("Set up a second factor of your own first.", fields={"requires_mfa": [OWN_FIRST]})
    changed = [name for name in changes if getattr(tenant, name) != before[name]]
    if changed:
        with transaction.atomic():
            tenant.save(update_fields=changed)
            record_act(
                "workspace.changed",
                tenant=tenant.pk,
                thing=tenant,
                before={name: _told(name, before[name]) for name in changed},
                after={name: _told(name, getattr(tenant, name)) for name in changed},
            )
    return tenant


def _told(name: str, value: Any) -> Any:
    return "(a text)" if name in WRITTEN and value else value


def close_workspace(*, by: Membership, name: str) -> None:
    """Nobody enters it from now on; for some days an owner can bring it back. ``name``: as its owner wrote it."""
    require(by, Act.DELETE)
    if name.strip() != by.tenant.name:
        raise BadRequest("That is not this workspace's name.", fields={"name": ["Write the name as it stands."]})
    with transaction.atomic():
        if Tenant.objects.living().filter(pk=by.tenant_id).update(deleted_at=timezone.now()):
            record_act("workspace.deleted", tenant=by.tenant_id, thing=by.tenant)


def reopen_workspace(*, user: User, tenant_id: str) -> Tenant:
    """Within its days of grace, by one of its owners; ``NotFound`` else."""
    mine = Membership.objects.filter(user=user, role=Role.OWNER, suspended_at=None).values("tenant")
    with transaction.atomic():
        closed = Tenant.objects.filter(pk=tenant_id, pk__in=mine, erasure=None).exclude(deleted_at=None)
        tenant = closed.select_for_update(of=("self",)).first()
        if tenant is None:
            raise NotFound
        tenant.deleted_at = None
        tenant.save(update_fields=["deleted_at"])
        record_act("workspace.restored", tenant=tenant.pk, thing=tenant)
    return tenant


def closed_workspaces(user: User) -> list[Tenant]:
    """That the person could bring back."""
    mine = Membership.objects.filter(user=user, role=Role.OWNER, suspended_at=None).values("tenant")
    return list(Tenant.objects.filter(pk__in=mine, erasure=None).exclude(deleted_at=None))


def purge_workspaces(*, days: int) -> int:
    """Begin to erase those closed ``days`` ago or earlier; from here on none is brought back. Returns how many."""
    due = Tenant.objects.filter(deleted_at__lte=timezone.now() - timedelta(days=days), erasure=None)
    with transaction.atomic():
        tenants = list(due.select_for_update(of=("self",)))
        for tenant in tenants:
            record_act("workspace.purged", tenant=tenant.pk, thing=tenant)
        begin_erasing(rows=tenants, by=None)
    return len(tenants)
