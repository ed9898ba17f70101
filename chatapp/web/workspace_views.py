"""The pages of a workspace's settings, for those whose role allows them, and of the workspaces a person has."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.joining import find_offers
from accounts.models import Membership, Role, User
from accounts.models.people import INSTRUCTIONS_LIMIT, MOST_STARTERS, Act
from accounts.permissions import require
from accounts.workspaces import closed_workspaces
from chatapp.common.errors import Forbidden
from chatapp.queue.available_models import live_workers, models_json

View = Callable[[HttpRequest], HttpResponse]
JOINING = [role for role in Role if role is not Role.OWNER]


def for_those_who_may(act: Act) -> Callable[[View], View]:
    """Answers 403 to members whose role does not allow ``act``."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest) -> HttpResponse:
            try:
                require(membership_of(request), act)
            except Forbidden as error:
                return render(request, "403.html", {"error": error}, status=403)
            return view(request)

        return checked

    return decorate


def membership_of(request: HttpRequest) -> Membership:
    membership: Membership = request.membership  # type: ignore[attr-defined]
    return membership


@require_safe
@for_those_who_may(Act.CHANGE_SETTINGS)
def general(request: HttpRequest) -> HttpResponse:
    membership = membership_of(request)
    context = {
        "tenant": membership.tenant,
        "starters": "\n".join(membership.tenant.starters),
        "models": models_json(live_workers()),
        "allowed": "\n".join(membership.tenant.allowed_models),
        "most_starters": MOST_STARTERS,
        "limit": INSTRUCTIONS_LIMIT,
        "may_delete": membership.can(Act.DELETE),
        "grace": settings.CHATAPP_WORKSPACE_GRACE_DAYS,
    }
    return render(request, "web/workspace_general.html", context | _nav(membership))


@require_safe
@for_those_who_may(Act.INVITE)
def members(request: HttpRequest) -> HttpResponse:
    """All of it for those who manage members; for those who may only invite, the invitations."""
    membership = membership_of(request)
    context = {
        "roles": Role if membership.can(Act.TRANSFER) else JOINING,
        "joining": [role for role in JOINING if role is Role.MEMBER or membership.outranks(role)],
        "manages": membership.can(Act.MANAGE_MEMBERS),
        "transfers": membership.can(Act.TRANSFER),
        "me": membership,
    }
    return render(request, "web/workspace_members.html", context | _nav(membership))


@require_safe
@for_those_who_may(Act.SEE_AUDIT)
def audit(request: HttpRequest) -> HttpResponse:
    return render(request, "web/workspace_audit.html", _nav(membership_of(request)))


def _nav(membership: Membership) -> dict[str, Any]:
    return {"may": {act.value: membership.can(act) for act in Act}}


@require_safe
@login_required
def workspaces(request: HttpRequest) -> HttpResponse:
    """Those a person is in, may join, and could bring back."""
    user: User = request.user  # type: ignore[assignment]
    places = Membership.objects.active().filter(user=user).select_related("tenant")
    context = {
        "places": places.order_by("-tenant__personal", "tenant__name"),
        "offers": find_offers(user),
        "closed": closed_workspaces(user),
    }
    return render(request, "web/settings_workspaces.html", context)
