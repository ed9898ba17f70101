"""Where django-allauth meets our accounts."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.db import transaction
from django.http import HttpRequest

from .models import User
from .services import create_personal_tenant


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up makes the person and their own tenant, both or neither."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        with transaction.atomic():
            user = super().save_user(request, user, form, commit)
            if commit:
                create_personal_tenant(user=user)
        return user
