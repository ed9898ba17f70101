"""Going through an open way into a workspace. Each asks the person first, and leaves an event."""

from __future__ import annotations

from dataclasses import dataclass, field

from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from chatapp.common.errors import BadRequest, Forbidden, NotFound

from .audit import record_act
from .models import Domain, Invitation, InviteLink, Membership, Tenant, User
from .models.invitations import domain_of

CLOSED = "This invitation is no longer open. Ask for a new one."


@dataclass(frozen=True, slots=True)
class Offers:
    """What a person may join by the addresses that they have proven."""

    invitations: list[Invitation] = field(default_factory=list)
    domains: list[Domain] = field(default_factory=list)


def find_offers(user: User) -> Offers:
    """Open invitations to the person's proven addresses, and workspaces of their domains, but for those they are in."""
    emails = proven_addresses(user)
    inside = Membership.objects.filter(user=user).values("tenant")
    living = {"tenant__deleted_at": None}
    invitations = Invitation.everyone.open().filter(email__in=emails, **living).exclude(tenant__in=inside)
    domains = Domain.everyone.filter(name__in={domain_of(email) for email in emails}, **living)
    return Offers(
        list(invitations.select_related("tenant", "created_by__chosen")),
        list(domains.exclude(tenant__in=inside).select_related("tenant")),
    )


def proven_addresses(user: User) -> list[str]:
    found = EmailAddress.objects.filter(user=user, verified=True).values_list("email", flat=True)
    return [email.lower() for email in found]


def find_way(token: str) -> Invitation | InviteLink | None:
    """What a token lets somebody in by, open or not; None of one that is not ours."""
    return Invitation.find(token) or InviteLink.find(token)


def accept_invitation(*, user: User, invitation: Invitation, by_token: bool = True) -> Membership:
    """Take it up as ``user``. ``by_token``: they came by its mail, which proves the address.

    Raises ``BadRequest`` once it is not open, ``Forbidden`` to whoever has another address.
    """
    with transaction.atomic():
        row = Invitation.everyone.open().select_for_update(of=("self",)).filter(pk=invitation.pk).first()
        if row is None or row.version != invitation.version:
            raise BadRequest(CLOSED)
        _check_address(user, row.email, by_token)
        row.accepted_at, row.accepted_by = timezone.now(), user
        row.save(update_fields=["accepted_at", "accepted_by"])
        membership = _join(user, row.tenant, row.role)
        record_act("invitation.accepted", tenant=row.tenant_id, thing=row, actor=user.pk)
    return membership


def _check_address(user: User, email: str, by_token: bool) -> None:
    addresses = EmailAddress.objects.filter(user=user, email__iexact=email)
    if by_token and (user.email == email or addresses.exists()):
        _prove(user, email)
    if not addresses.filter(verified=True).exists():
        raise Forbidden(f"This invitation is for {email}. Log in with that address, or add it to your account.")


def _prove(user: User, email: str) -> None:
    """Note that they read mail sent there; unless another account has proven the same, which then stays theirs."""
    primary = not EmailAddress.objects.filter(user=user, primary=True).exists()
    defaults = {"verified": True}
    try:
        with transaction.atomic():
            EmailAddress.objects.update_or_create(
                user=user, email=email, defaults=defaults, create_defaults=defaults | {"primary": primary}
            )
    except IntegrityError:
        return


def decline_invitation(*, user: User, invitation: Invitation) -> None:
    if invitation.email not in {user.email, *proven_addresses(user)}:
        raise NotFound
    with transaction.atomic():
        if Invitation.everyone.open().filter(pk=invitation.pk).update(declined_at=timezone.now()):
            record_act("invitation.declined", tenant=invitation.tenant_id, thing=invitation, actor=user.pk)


def join_by_link(*, user: User, link: InviteLink) -> Membership:
    """Raises ``BadRequest`` once as many have joined as it is for, it has expired, or was taken back."""
    if inside := _place(user, link.tenant):
        return inside
    with transaction.atomic():
        if not InviteLink.everyone.open().filter(pk=link.pk).update(used=F("used") + 1):
            raise BadRequest(CLOSED)
        membership = _join(user, link.tenant, link.role)
        record_act("link.used", tenant=link.tenant_id, thing=link, actor=user.pk)
    return membership


def join_by_domain(*, user: User, domain: Domain) -> Membership:
    """Raises ``NotFound`` to whoever has proven no address of it."""
    if domain.name not in {domain_of(email) for email in proven_addresses(user)}:
        raise NotFound
    with transaction.atomic():
        membership = _join(user, domain.tenant, domain.role)
        record_act("domain.joined", tenant=domain.tenant_id, thing=domain, actor=user.pk)
    return membership


def _place(user: User, tenant: Tenant) -> Membership | None:
    found: Membership | None = Membership.objects.filter(user=user, tenant=tenant).first()
    return found


def _join(user: User, tenant: Tenant, role: str) -> Membership:
    """Who is in stays as they are: an old invitation neither raises nor lowers anybody, and ends no suspension."""
    try:
        with transaction.atomic():
            membership = Membership.objects.create(user=user, tenant=tenant, role=role)
            record_act("member.joined", tenant=tenant.pk, thing=membership, after={"role": role}, actor=user.pk)
    except IntegrityError:
        found = _place(user, tenant)
        assert found is not None
        return found
    return membership
