"""What changes two rows or more, or counts as an event, about people and tenants."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
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


def _free_slug(name: str) -> str:
    """The name as a slug; with random letters behind it when that one is taken."""
    base = slugify(name)[:30] or "workspace"
    if not Tenant.objects.filter(slug=base).exists():
        return base
    return f"{base}-{uuid7().hex[-8:]}"
