"""One function per noun that gives an object to those who may have it, and 404 to everyone else."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser

from chatapp.common.errors import Forbidden, NotFound, SecondFactorRequired

from .models import Membership, Role, User
from .models.people import LEAST_ROLE, Act
from .second_factor import has_second_factor

WHOSE = {
    Role.ANALYST: "That is for owners, admins and analysts of this workspace.",
    Role.ADMIN: "That is for owners and admins of this workspace.",
    Role.OWNER: "That is for owners of this workspace.",
}


def get_membership(user: User | AnonymousUser, slug: str) -> Membership:
    """The person's membership in the tenant ``slug``, with tenant, plan and preferences.

    Raises ``NotFound`` for strangers, and where either is suspended, exactly as for a slug that does not exist;
    ``SecondFactorRequired`` where the workspace asks for what the person has not.
    """
    membership = find_membership(user, slug)
    if membership.tenant.requires_mfa and not has_second_factor(membership.user):
        raise SecondFactorRequired
    return membership


def find_membership(user: User | AnonymousUser, slug: str) -> Membership:
    """As ``get_membership``, also of those without a second factor: for leaving, which needs none."""
    if not user.is_authenticated:
        raise NotFound
    memberships = Membership.objects.active().select_related("tenant__plan", "user__chosen")
    membership: Membership | None = memberships.filter(user=user, tenant__slug=slug).first()
    if membership is None:
        raise NotFound
    return membership


def require(membership: Membership, act: Act) -> None:
    """Raises ``Forbidden``, saying whose it is, to a member whose role does not allow ``act``."""
    if not membership.can(act):
        raise Forbidden(WHOSE[LEAST_ROLE[act]])


def require_reports(membership: Membership) -> None:
    """Raises ``Forbidden`` to a member whose role has no reports."""
    if not membership.can_see_reports:
        raise Forbidden("Reports are for owners, admins and analysts of this workspace.")
