"""A person's account, deleted by themselves."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from chatapp.common.errors import BadRequest

from .audit import record_act
from .models import Membership, Role, Tenant, User
from .services import begin_erasing

STILL_OWNER = "You are the only owner of a workspace that others are in. Hand it on, or delete it, first."


def held_workspaces(person: User) -> list[Tenant]:
    """Living workspaces with others in them that would be left without an owner."""
    here = Membership.objects.filter(tenant=OuterRef("tenant")).exclude(user=person)
    owners = here.filter(role=Role.OWNER, suspended_at=None, user__is_active=True)
    mine = Membership.objects.filter(Exists(here), ~Exists(owners), user=person, role=Role.OWNER)
    tenants: list[Tenant] = list(Tenant.objects.living().filter(pk__in=mine.values("tenant")))
    return tenants


def delete_account(*, person: User) -> None:
    """Shut the person out at once; what there is of them goes in the background, and nobody takes it back.

    Raises ``BadRequest`` to the only owner of a workspace that others are in.
    """
    with transaction.atomic():
        places = Membership.objects.filter(tenant__memberships__user=person, role=Role.OWNER)
        list(places.select_for_update(of=("self",)).order_by("pk"))  # two who go at once: one finds the other gone
        if held_workspaces(person):
            raise BadRequest(STILL_OWNER)
        _close_deserted(person)
        record_act("account.deleted", tenant=None, thing=person)
        begin_erasing(rows=[person], by=person)


def _close_deserted(person: User) -> None:
    """What nobody is left in goes after its days of grace, by ``purge_workspaces``; a person's own with the person."""
    others = Membership.objects.filter(tenant=OuterRef("pk")).exclude(user=person)
    mine = Membership.objects.filter(tenant=OuterRef("pk"), user=person)
    deserted = Tenant.objects.living().filter(~Exists(others), Exists(mine), personal=False)
    deserted.update(deleted_at=timezone.now())
