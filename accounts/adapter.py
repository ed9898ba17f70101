"""Where django-allauth meets our accounts."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.urls import Resolver404, resolve

from .joining import find_way
from .models import Invitation, InviteLink, User
from .services import create_person

WAYS = {
    "reauthenticate": "Use your password",
    "mfa_reauthenticate": "Use a code",
    "mfa_reauthenticate:webauthn": "Use a passkey",
}


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up, where it is open, makes the person and their own tenant, both or neither."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """To all, or to whoever comes by an open invitation or link."""
        if settings.CHATAPP_SIGNUP == "invited":
            return invited_by(request) is not None
        return bool(settings.CHATAPP_SIGNUP == "open")

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        """Who was invited has proven the address, by having the mail; that they join they say on the next page."""
        user = super().save_user(request, user, form, commit=False)
        way = invited_by(request)
        proven = isinstance(way, Invitation) and way.email == User.objects.normalize_email(user.email)
        return create_person(user=user, verified=proven) if commit else user

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, Any]]:
        methods = super().get_reauthentication_methods(user)
        return [{**method, "description": WAYS.get(method["id"], method["description"])} for method in methods]

    def set_password(self, user: User, password: str) -> None:
        """The password alone: what an admin changes at the same moment stays."""
        user.set_password(password)
        user.save(update_fields=["password"])


def invited_by(request: HttpRequest) -> Invitation | InviteLink | None:
    """The open way into a workspace that whoever signs up, or logs in, goes on to; None where they go elsewhere."""
    try:
        match = resolve(request.POST.get("next") or request.GET.get("next") or "/")
    except Resolver404:
        return None
    way = find_way(match.kwargs["token"]) if match.url_name == "join" else None
    return way if way is not None and way.state == "open" else None
