"""What changes of a membership: role, suspension, its end; and who owns a workspace."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from chatapp.common.errors import BadRequest, Forbidden, NotFound

from .audit import record_act
from .models import ApiKey, Membership, Role
from .models.people import Act
from .permissions import require

LAST_OWNER = "A workspace needs an owner. Make somebody else the owner first, or delete the workspace."


def change_role(*, by: Membership, member_id: int, role: str) -> Membership:
    """Raises ``Forbidden`` of whom, or to what, ``by`` may not change anybody; ``BadRequest`` of the last owner."""
    if role not in Role.values:
        raise BadRequest("There is no such role.", fields={"role": ["Not a role."]})
    with transaction.atomic():
        member = _member_to_change(by, member_id)
        if not by.outranks(role):
            raise Forbidden("You cannot give a role above your own.")
        before, member.role = member.role, role
        _check_owned(member)
        member.save(update_fields=["role"])
        record_act("member.role", tenant=by.tenant_id, thing=member, before={"role": before}, after={"role": role})
    return member


def suspend_member(*, by: Membership, member_id: int) -> Membership:
    """They are out until somebody lets them in again: pages, sockets, keys and running answers end in seconds."""
    return _set_suspended(by, member_id, suspended=True)


def restore_member(*, by: Membership, member_id: int) -> Membership:
    return _set_suspended(by, member_id, suspended=False)


def _set_suspended(by: Membership, member_id: int, *, suspended: bool) -> Membership:
    with transaction.atomic():
        member = _member_to_change(by, member_id)
        if member.pk == by.pk:
            raise BadRequest("You cannot suspend yourself.")
        if bool(member.suspended_at) != suspended:
            member.suspended_at = timezone.now() if suspended else None
            _check_owned(member)
            member.save(update_fields=["suspended_at"])
            record_act("member.suspended" if suspended else "member.restored", tenant=by.tenant_id, thing=member)
    return member


def remove_member(*, by: Membership, member_id: int) -> None:
    """Out for good; their keys are revoked. What they wrote goes with their account, or by retention."""
    with transaction.atomic():
        member = _member_to_change(by, member_id)
        if member.pk == by.pk:
            raise BadRequest("To leave a workspace, use Leave.")
        _end(member, "member.removed")


def leave_workspace(*, membership: Membership) -> None:
    """Raises ``BadRequest`` to the last owner."""
    with transaction.atomic():
        member = _lock(membership.tenant_id).get(pk=membership.pk)
        _end(member, "member.left")


def _end(member: Membership, act: str) -> None:
    role, member.role = member.role, Role.MEMBER
    _check_owned(member)
    record_act(act, tenant=member.tenant_id, thing=member, before={"role": role, "user": str(member.user_id)})
    keys = ApiKey.everyone.filter(tenant=member.tenant_id, user=member.user_id, revoked_at=None)
    keys.update(revoked_at=timezone.now())
    member.delete()


def transfer_workspace(*, by: Membership, member_id: int) -> Membership:
    """``member_id`` becomes an owner and ``by`` an admin."""
    require(by, Act.TRANSFER)
    with transaction.atomic():
        people = {row.pk: row for row in _lock(by.tenant_id).filter(pk__in=[by.pk, member_id])}
        heir = people.get(member_id)
        if heir is None or heir.suspended_at or member_id == by.pk:
            raise NotFound
        mine = people[by.pk]
        heir.role, mine.role = Role.OWNER, Role.ADMIN
        heir.save(update_fields=["role"])
        mine.save(update_fields=["role"])
        record_act("workspace.transferred", tenant=by.tenant_id, thing=heir, before={"owner": str(by.user_id)})
    return heir


def _lock(tenant_id: UUID) -> QuerySet[Membership]:
    """The memberships of a workspace. Its owners are held: two who go at once do not both find the other there."""
    owners = Membership.objects.select_for_update(of=("self",)).filter(tenant=tenant_id, role=Role.OWNER)
    list(owners.order_by("pk").values_list("pk", flat=True))
    return Membership.objects.filter(tenant=tenant_id)


def _member_to_change(by: Membership, member_id: int) -> Membership:
    require(by, Act.MANAGE_MEMBERS)
    member = _lock(by.tenant_id).filter(pk=member_id).select_related("user__chosen", "tenant").first()
    if member is None:
        raise NotFound
    if not by.outranks(member.role):
        raise Forbidden("Only an owner can change an owner.")
    return member


def _check_owned(member: Membership) -> None:
    """That the workspace has an owner who can enter, with ``member`` as they will be."""
    if member.role == Role.OWNER and not member.suspended_at:
        return
    others = Membership.objects.filter(tenant=member.tenant_id, role=Role.OWNER, suspended_at=None)
    if not others.exclude(pk=member.pk).exists() and _owned_before(member):
        raise BadRequest(LAST_OWNER)


def _owned_before(member: Membership) -> bool:
    return Membership.objects.filter(pk=member.pk, role=Role.OWNER).exists()
