"""What changes two rows or more, or counts as an event, about people and tenants."""

from __future__ import annotations

from collections.abc import Iterable

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import IntegrityError, transaction
from django.db.models import Q, Value
from django.db.models.functions import Replace
from django.utils.text import slugify

from chatapp.common.ids import uuid7

from .models import Erasure, Membership, Plan, Role, Tenant, User

ERASED = "(erased)"


def create_person(*, user: User, verified: bool = False) -> User:
    """Save a new person, whose address and password are set, with a workspace of their own: all of it or nothing.

    Every door comes through here: sign-up, the admin's form, ``createsuperuser``. ``verified``: whoever makes the
    person vouches for the address; else allauth keeps it and asks for proof.
    """
    with transaction.atomic():
        user.email = User.objects.normalize_email(user.email)
        user.save(force_insert=True)
        welcome_person(user=user, verified=verified)
    return user


def welcome_person(*, user: User, verified: bool = False) -> None:
    """What makes a row of Django's a person here. See ``create_person``."""
    with transaction.atomic():
        if verified:
            EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
        create_personal_tenant(user=user)


def follow_address(*, user: User) -> None:
    """Let allauth know of an address that somebody vouches for in place of the person's last: they log in with it."""
    addresses = EmailAddress.objects.filter(user=user)
    with transaction.atomic():
        addresses.filter(primary=True).exclude(email=user.email).delete()
        addresses.update_or_create(user=user, email=user.email, defaults={"primary": True, "verified": True})


def create_personal_tenant(*, user: User) -> Tenant:
    """The space every new person gets, on the operator's default plan, owned by them."""
    plan = Plan.objects.get(code=settings.CHATAPP_DEFAULT_PLAN)
    name = user.email.split("@")[0][:60]
    with transaction.atomic():
        tenant = make_tenant(name, plan, personal=True)
        Membership.objects.create(user=user, tenant=tenant, role=Role.OWNER)
    return tenant


def make_tenant(name: str, plan: Plan, *, personal: bool) -> Tenant:
    """At the name as a slug; with random letters behind it where that is taken, also by somebody at this moment."""
    base = slugify(name)[:30] or "workspace"
    try:
        with transaction.atomic():
            return _tenant_at(name, base, plan, personal)
    except IntegrityError:
        return _tenant_at(name, f"{base}-{uuid7().hex[-8:]}", plan, personal)


def _tenant_at(name: str, slug: str, plan: Plan, personal: bool) -> Tenant:
    tenant: Tenant = Tenant.objects.create(name=name, slug=slug, plan=plan, personal=personal)
    return tenant


def begin_erasing(*, rows: Iterable[User | Tenant], by: User | None) -> None:
    """Shut people or workspaces out at once; what there is of them goes bit by bit (``chatapp.chat.erasing``).

    Asking again changes nothing.
    """
    with transaction.atomic():
        for row in rows:
            what = "person" if isinstance(row, User) else "workspace"
            erasure, _ = Erasure.objects.get_or_create(**{what: row}, defaults={"asked_by": by})
            erasure.shut_out()


def erase_person(*, person: User) -> None:
    """Delete the last of a person. What stays for the bill, and of the admin's log, names nobody.

    A workspace of their own that nobody else is in keeps its ledger, under another name.
    """
    with transaction.atomic():
        for tenant in Tenant.objects.personal_of([person]):
            tenant.become_nameless()
        User.objects.filter(pk=person.pk).delete()
        _forget_in_log(person.email)


def _forget_in_log(email: str) -> None:
    told = LogEntry.objects.filter(Q(object_repr__contains=email) | Q(change_message__contains=email))
    told.update(**{name: Replace(name, Value(email), Value(ERASED)) for name in ("object_repr", "change_message")})
