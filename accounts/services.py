"""What changes two rows or more, or counts as an event, about people and tenants."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import Q, Value
from django.db.models.functions import Replace
from django.utils.text import slugify

from chatapp.common.ids import uuid7

from .models import Membership, Plan, Role, Tenant, User


def create_personal_tenant(*, user: User) -> Tenant:
    """The space every new person gets, on the operator's default plan, owned by them."""
    plan = Plan.objects.get(code=settings.CHATAPP_DEFAULT_PLAN)
    name = user.email.split("@")[0][:60]
    with transaction.atomic():
        tenant = Tenant.objects.create(name=name, slug=_free_slug(name), plan=plan, personal=True)
        Membership.objects.create(user=user, tenant=tenant, role=Role.OWNER)
    return tenant


def erase_people(*, people: Iterable[User]) -> None:
    """Delete people for good, with all that they wrote. What stays for the bill, and of the admin's log, names nobody.

    A workspace of their own that nobody else is in keeps its ledger, under another name.
    """
    people = list(people)
    with transaction.atomic():
        for tenant in Tenant.objects.personal_of(people):
            tenant.become_nameless()
        User.objects.filter(pk__in=[person.pk for person in people]).delete()
        for person in people:
            _forget_in_log(person.email)


ERASED = "(erased)"


def _forget_in_log(email: str) -> None:
    told = LogEntry.objects.filter(Q(object_repr__contains=email) | Q(change_message__contains=email))
    told.update(**{name: Replace(name, Value(email), Value(ERASED)) for name in ("object_repr", "change_message")})


def _free_slug(name: str) -> str:
    """The name as a slug; with random letters behind it when that one is taken."""
    base = slugify(name)[:30] or "workspace"
    if not Tenant.objects.filter(slug=base).exists():
        return base
    return f"{base}-{uuid7().hex[-8:]}"
