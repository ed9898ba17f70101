"""Invitation, InviteLink, Domain: the ways into a workspace for people who are not in it yet."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Self
from uuid import UUID

from django.core import signing
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.scoping import TenantManager, TenantModel
from chatapp.common.ids import uuid7

from .people import Role

INVITATION_DAYS, LINK_DAYS = 7, 30
# Anybody can have an address there, so it tells of no organisation.
PUBLIC_DOMAINS = frozenset(Path(__file__).with_name("public_domains.txt").read_text().split())
DOMAIN = re.compile(r"(?=.{4,190}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")


def role_field(**options: Any) -> models.CharField[str, str]:
    """Of whoever joins: nobody becomes an owner but by an owner's hand."""
    choices = [(role.value, role.label) for role in Role if role is not Role.OWNER]
    return models.CharField(max_length=10, choices=choices, default=Role.MEMBER, **options)


class OpenQuerySet(models.QuerySet[Any]):
    def open(self) -> OpenQuerySet:
        """Those that still let somebody in."""
        return self.filter(self.model.is_open_now())


class SignedModel(TenantModel):
    """A row whose secret is signed rather than kept: who reads the database alone cannot join by it."""

    SALT: ClassVar[str]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    version = models.PositiveIntegerField(default=0, editable=False)
    created_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField("revoked", null=True, blank=True, editable=False)

    class Meta(TenantModel.Meta):
        abstract = True

    @property
    def token(self) -> str:
        return signing.dumps([self.pk.hex, self.version], salt=self.SALT)

    @classmethod
    def find(cls, token: str) -> Self | None:
        """The row of a token of any workspace, open or not, with its workspace; None of one that is not ours."""
        try:
            hexed, version = signing.loads(token, salt=cls.SALT)
            pk = UUID(hexed)
        except (signing.BadSignature, ValueError, TypeError, AttributeError):
            return None
        rows = cls.everyone.select_related("tenant", "created_by__chosen")
        row: Self | None = rows.filter(pk=pk, version=version, tenant__deleted_at=None).first()
        return row


class Invitation(SignedModel):
    """One person's, by e-mail: to be used once, for some days. Sending it again ends the earlier mail's link."""

    SALT = "accounts.invitation"

    email = models.EmailField()
    role = role_field()
    sent_at = models.DateTimeField(default=timezone.now)
    accepted_at = models.DateTimeField(null=True, blank=True, editable=False)
    accepted_by = models.ForeignKey(
        "accounts.User", on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    declined_at = models.DateTimeField(null=True, blank=True, editable=False)

    everyone: ClassVar[Any] = models.Manager.from_queryset(OpenQuerySet)()
    objects: ClassVar[Any] = TenantManager.from_queryset(OpenQuerySet)()

    class Meta(SignedModel.Meta):
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "email"),
                condition=Q(accepted_at=None, declined_at=None, revoked_at=None),
                name="one_open_invitation",
            ),
        )

    def __str__(self) -> str:
        return f"{self.email} to {self.tenant}"

    @staticmethod
    def is_open_now() -> Q:
        return Q(accepted_at=None, declined_at=None, revoked_at=None, expires_at__gt=timezone.now())

    @property
    def state(self) -> str:
        """open, accepted, declined, revoked or expired."""
        for state in ("accepted", "declined", "revoked"):
            if getattr(self, f"{state}_at"):
                return state
        return "open" if self.expires_at > timezone.now() else "expired"

    def renew(self) -> None:
        """Unsaved: as if it had just been made; its earlier links are worth nothing."""
        self.version += 1
        self.sent_at = timezone.now()
        self.expires_at = self.sent_at + timedelta(days=INVITATION_DAYS)


class InviteLink(SignedModel):
    """For whoever has it, up to a number of people and a day."""

    SALT = "accounts.invite-link"

    role = role_field()
    limit = models.PositiveIntegerField(null=True, blank=True, help_text="How many may join by it; empty is no limit.")
    used = models.PositiveIntegerField(default=0, editable=False)

    everyone: ClassVar[Any] = models.Manager.from_queryset(OpenQuerySet)()
    objects: ClassVar[Any] = TenantManager.from_queryset(OpenQuerySet)()

    class Meta(SignedModel.Meta):
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(condition=Q(limit=None) | Q(used__lte=F("limit")), name="link_used_to_its_limit"),
        )

    def __str__(self) -> str:
        return f"Link to {self.tenant}"

    @staticmethod
    def is_open_now() -> Q:
        return Q(Q(limit=None) | Q(used__lt=F("limit")), revoked_at=None, expires_at__gt=timezone.now())

    @property
    def state(self) -> str:
        """open, full, revoked or expired."""
        if self.revoked_at:
            return "revoked"
        if self.limit is not None and self.used >= self.limit:
            return "full"
        return "open" if self.expires_at > timezone.now() else "expired"


def check_domain(value: str) -> None:
    if not DOMAIN.fullmatch(value):
        raise ValidationError("Write a domain such as example.com.")


class Domain(TenantModel):
    """Whoever has proven an address of it may join by themselves. It stands for one workspace at most."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField("domain", max_length=190, unique=True, validators=[check_domain])
    role = role_field()
    created_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


def domain_of(email: str) -> str:
    """What stands behind the address's last @, in small letters."""
    return email.rpartition("@")[2].lower()
