"""ApiKey: a program's way in, on behalf of one person in one tenant."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Self
from uuid import UUID

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.scoping import TenantModel
from chatapp.common.ids import uuid7

from .people import Membership

USE_NOTED_EVERY = timedelta(minutes=1)


class ApiKey(TenantModel):
    """A secret of 256 random bits, of which only the SHA-256 is kept: it cannot be guessed, so it needs no salt.

    It belongs to one tenant, which pays, and acts for one member of it. A revoked key stays as a row, so that
    what was done with it can still be told.
    """

    PREFIX = "sk-"
    member_is_active: bool  # of a key that was found: in its workspace, and neither is suspended
    SHOWN = 10  # characters of the secret that lists show; enough to tell keys apart

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+", verbose_name="member")
    name = models.CharField(max_length=60, help_text="What it is for, or where it is kept.")
    prefix = models.CharField("begins with", max_length=SHOWN, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField("last used", null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField("revoked", null=True, blank=True, editable=False)

    class Meta(TenantModel.Meta):
        ordering = ("-created_at",)
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def draw_secret(self) -> str:
        """Give an unsaved key its secret. This is the only time that anybody sees it."""
        secret = self.PREFIX + secrets.token_urlsafe(32)
        self.prefix, self.digest = secret[: self.SHOWN], digest(secret)
        return secret

    @classmethod
    def find(cls, secret: str) -> Self | None:
        """The key with this secret that was not revoked, with its tenant, plan and member, in one query."""
        key: Self | None = cls._unrevoked().select_related("tenant__plan", "user").filter(digest=digest(secret)).first()
        return key

    @classmethod
    def find_again(cls, ids: Iterable[UUID]) -> dict[UUID, Self]:
        """Those of the keys with these ids that were not revoked meanwhile, in one query."""
        return {key.pk: key for key in cls._unrevoked().select_related("tenant").filter(pk__in=ids)}

    @classmethod
    def _unrevoked(cls) -> models.QuerySet[Self]:
        here = Membership.objects.active().filter(tenant_id=OuterRef("tenant_id"), user_id=OuterRef("user_id"))
        return cls.everyone.filter(revoked_at=None).annotate(member_is_active=Exists(here))

    def note_use(self) -> None:
        """To the minute: a busy key writes one row a minute, not one a request."""
        now = timezone.now()
        if self.last_used_at is None or self.last_used_at < now - USE_NOTED_EVERY:
            stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_NOTED_EVERY)
            type(self).everyone.filter(stale, pk=self.pk).update(last_used_at=now)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
