"""Opening ways into a workspace, and closing them: invitations by e-mail, links, domains."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction
from django.utils import timezone

from chatapp.common.errors import BadRequest, Forbidden, NotFound

from .audit import record_act
from .models import Domain, Invitation, InviteLink, Membership, Role, User
from .models.invitations import DOMAIN, INVITATION_DAYS, LINK_DAYS, PUBLIC_DOMAINS, domain_of
from .models.people import Act
from .permissions import require
from .tasks import send_invitation

MOST_AT_ONCE = 200  # addresses
RESEND_AFTER = timedelta(minutes=1)


def invite_people(*, by: Membership, emails: Iterable[str], role: str = Role.MEMBER) -> list[Invitation]:
    """Invite addresses, each once however it is written; those who are members, or invited already, are passed over.

    Raises ``Forbidden`` where the role of ``by`` may not invite, or not as ``role``.
    """
    require(by, Act.INVITE)
    _check_gives(by, role)
    wanted = list(dict.fromkeys(User.objects.normalize_email(email.strip()) for email in emails))
    if len(wanted) > MOST_AT_ONCE:
        raise BadRequest(f"Invite up to {MOST_AT_ONCE} people at once.", fields={"emails": ["Too many addresses."]})
    known = _inside(by, wanted) | _invited(by, wanted)
    return [made for email in wanted if email not in known if (made := _invite(by, email, role))]


def _inside(by: Membership, emails: list[str]) -> set[str]:
    people = User.objects.filter(memberships__tenant=by.tenant_id, emailaddress__email__in=emails)
    named = User.objects.filter(memberships__tenant=by.tenant_id, email__in=emails)
    return set(people.values_list("emailaddress__email", flat=True)) | set(named.values_list("email", flat=True))


def _invited(by: Membership, emails: list[str]) -> set[str]:
    return set(Invitation.objects.open().filter(email__in=emails).values_list("email", flat=True))


def _invite(by: Membership, email: str, role: str) -> Invitation | None:
    """None where somebody else has invited the same address at this moment."""
    now = timezone.now()
    stale = Invitation.objects.filter(email=email, accepted_at=None, declined_at=None, revoked_at=None)
    try:
        with transaction.atomic():
            stale.filter(expires_at__lte=now).update(revoked_at=now)
            invitation: Invitation = Invitation.objects.create(
                tenant=by.tenant,
                email=email,
                role=role,
                created_by=by.user,
                expires_at=now + timedelta(days=INVITATION_DAYS),
            )
            record_act("invitation.created", tenant=by.tenant_id, thing=invitation, after={"role": role})
            send_invitation.delay_on_commit(str(by.tenant_id), str(invitation.pk), invitation.version)
    except IntegrityError:
        return None
    return invitation


def resend_invitation(*, by: Membership, invitation_id: str) -> Invitation:
    """Mail it again, with a new link and new days; the earlier link ends. An expired one is open again."""
    require(by, Act.INVITE)
    with transaction.atomic():
        invitation = _invitation(by, invitation_id)
        _check_gives(by, invitation.role)
        if invitation.sent_at > timezone.now() - RESEND_AFTER:
            raise BadRequest("It was sent a moment ago. Wait a minute before sending it again.")
        invitation.renew()
        invitation.save(update_fields=["version", "sent_at", "expires_at"])
        record_act("invitation.resent", tenant=by.tenant_id, thing=invitation)
        send_invitation.delay_on_commit(str(by.tenant_id), str(invitation.pk), invitation.version)
    return invitation


def revoke_invitation(*, by: Membership, invitation_id: str) -> None:
    require(by, Act.INVITE)
    with transaction.atomic():
        invitation = _invitation(by, invitation_id)
        _check_gives(by, invitation.role)
        invitation.revoked_at = timezone.now()
        invitation.save(update_fields=["revoked_at"])
        record_act("invitation.revoked", tenant=by.tenant_id, thing=invitation)


def _invitation(by: Membership, invitation_id: str) -> Invitation:
    """Of the workspace, neither taken nor turned down nor taken back; those who may only invite see their own."""
    rows = Invitation.objects.filter(accepted_at=None, declined_at=None, revoked_at=None, pk=invitation_id)
    if not by.can(Act.MANAGE_MEMBERS):
        rows = rows.filter(created_by=by.user)
    invitation: Invitation | None = rows.select_for_update(of=("self",)).first()
    if invitation is None:
        raise NotFound
    return invitation


def create_link(
    *, by: Membership, role: str = Role.MEMBER, limit: int | None = None, days: int = LINK_DAYS
) -> InviteLink:
    """A link that lets whoever has it in, ``limit`` people at most, for ``days``."""
    require(by, Act.MANAGE_MEMBERS)
    _check_gives(by, role)
    with transaction.atomic():
        link: InviteLink = InviteLink.objects.create(
            tenant=by.tenant,
            role=role,
            limit=limit,
            created_by=by.user,
            expires_at=timezone.now() + timedelta(days=days),
        )
        record_act("link.created", tenant=by.tenant_id, thing=link, after={"role": role, "limit": limit, "days": days})
    return link


def revoke_link(*, by: Membership, link_id: str) -> None:
    require(by, Act.MANAGE_MEMBERS)
    with transaction.atomic():
        link = InviteLink.objects.select_for_update(of=("self",)).filter(pk=link_id, revoked_at=None).first()
        if link is None:
            raise NotFound
        link.revoked_at = timezone.now()
        link.save(update_fields=["revoked_at"])
        record_act("link.revoked", tenant=by.tenant_id, thing=link)


def add_domain(*, by: Membership, name: str, role: str = Role.MEMBER) -> Domain:
    """Let everybody with a proven address of the domain join. Whoever adds it has proven one themselves.

    Raises ``BadRequest`` of what is no domain, is open to everybody, or stands for another workspace.
    """
    require(by, Act.MANAGE_MEMBERS)
    _check_gives(by, role)
    name = name.strip().lower().removeprefix("@")
    if not DOMAIN.fullmatch(name):
        raise BadRequest("Write a domain such as example.com.", fields={"name": ["Not a domain."]})
    if name in PUBLIC_DOMAINS:
        raise BadRequest(f"Anybody can have an address at {name}.", fields={"name": ["Open to everybody."]})
    proven = EmailAddress.objects.filter(user=by.user, verified=True).values_list("email", flat=True)
    if name not in {domain_of(email) for email in proven}:
        raise Forbidden(f"Confirm an address of your own at {name} first.")
    try:
        with transaction.atomic():
            domain: Domain = Domain.objects.create(tenant=by.tenant, name=name, role=role, created_by=by.user)
            record_act("domain.added", tenant=by.tenant_id, thing=domain, after={"domain": name, "role": role})
    except IntegrityError:
        raise BadRequest(f"{name} stands for a workspace already.", fields={"name": ["Taken."]}) from None
    return domain


def remove_domain(*, by: Membership, domain_id: str) -> None:
    """Who has joined by it stays."""
    require(by, Act.MANAGE_MEMBERS)
    with transaction.atomic():
        domain = Domain.objects.filter(pk=domain_id).first()
        if domain is None:
            raise NotFound
        record_act("domain.removed", tenant=by.tenant_id, thing=domain, before={"domain": domain.name})
        domain.delete()


def _check_gives(by: Membership, role: str) -> None:
    """Nobody gives what they do not have: members invite members, and no door makes owners."""
    if role not in Role.values or role == Role.OWNER:
        raise BadRequest("People join as admin, analyst or member.", fields={"role": ["Not a role to join as."]})
    if role != Role.MEMBER and not by.outranks(role):
        raise Forbidden("You can invite members. Ask an admin for other roles.")
