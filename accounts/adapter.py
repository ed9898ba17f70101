"""Where django-allauth meets our accounts."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest

from .models import User
from .services import create_person


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up, where it is open, makes the person and their own tenant, both or neither."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.CHATAPP_SIGNUP == "open")

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        user = super().save_user(request, user, form, commit=False)
        return create_person(user=user) if commit else user

    def set_password(self, user: User, password: str) -> None:
        """The password alone: what an admin changes at the same moment stays."""
        user.set_password(password)
        user.save(update_fields=["password"])
