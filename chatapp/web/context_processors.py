"""What every page's frame needs: theme, brand, and the person's workspaces."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from accounts.models import Tenant, User


def interface(request: HttpRequest) -> dict[str, Any]:
    """``theme``, ``person`` (an id, or ""), ``brand``, ``signup_open``, ``workspace``, and lazily ``workspaces``."""
    membership = getattr(request, "membership", None)
    user: User | AnonymousUser | None = getattr(request, "user", None)
    known = user if isinstance(user, User) else None
    return {
        "brand": settings.CHATAPP_BRAND,
        "signup_open": settings.CHATAPP_SIGNUP == "open",
        "person": known.pk if known else "",
        "theme": known.preferences.theme if known else "auto",
        "workspace": _workspace(membership.tenant) if membership else None,
        "workspaces": (lambda: [_workspace(tenant) for tenant in Tenant.objects.of(known)]) if known else [],
    }


def _workspace(tenant: Tenant) -> dict[str, str]:
    return {
        "slug": tenant.slug,
        "name": tenant.name,
        "accent": tenant.accent,
        "url": tenant.get_absolute_url(),
    }
