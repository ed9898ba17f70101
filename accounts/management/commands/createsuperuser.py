"""Django's command, for an admin who also has somewhere to chat."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.db import transaction

from accounts.models import User
from accounts.services import welcome_person


class Command(createsuperuser.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        """The row is Django's own; what makes it a person here is given to every admin who lacks it."""
        with transaction.atomic():
            super().handle(*args, **options)
            for user in User.objects.filter(is_superuser=True, memberships=None):
                welcome_person(user=user, verified=True)
