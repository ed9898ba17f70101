"""User, Tenant, Membership, Preferences."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.urls import reverse

from chatapp.common.ids import uuid7
from chatapp.common.text import one_line


class UserManager(BaseUserManager["User"]):
    """Makes the row alone, as Django asks. A person, who also has a workspace, is made by ``create_person``."""

    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        """In small letters, all of it: nobody is told apart by them."""
        return super().normalize_email(email).lower()

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. The e-mail address is the login name, in any case."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField("platform staff", default=False, help_text="May enter the admin.")
    date_joined = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        ordering = ("-date_joined",)
        constraints = (models.UniqueConstraint(Lower("email"), name="user_email_any_case"),)

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        super().clean()
        self.email = type(self).objects.normalize_email(self.email)

    @property
    def preferences(self) -> Preferences:
        """This person's preferences; unsaved defaults until they change one."""
        if not hasattr(self, "_preferences"):
            self._preferences = getattr(self, "chosen", None) or Preferences(user=self)
        return self._preferences

    def choose(self, **changes: Any) -> Preferences:
        """Change some preferences; the others stay, also what another page changes at this moment."""
        if changes:
            self._preferences = Preferences.objects.update_or_create(user=self, defaults=changes)[0]
        return self.preferences

    @property
    def name(self) -> str:
        return self.preferences.display_name or self.email.split("@")[0]


class TenantQuerySet(models.QuerySet["Tenant"]):
    def living(self) -> TenantQuerySet:
        """Those that are not being deleted."""
        return self.filter(deleted_at=None)

    def of(self, user: User) -> TenantQuerySet:
        """The tenants a person may enter, their own first."""
        inside = Membership.objects.active().filter(tenant=models.OuterRef("pk"), user=user)
        return self.filter(models.Exists(inside)).order_by("-personal", "name")

    def personal_of(self, people: Iterable[User]) -> TenantQuerySet:
        """Their own tenants, as far as nobody else is in them."""
        others = Membership.objects.filter(tenant=models.OuterRef("pk")).exclude(user__in=people)
        return self.filter(~models.Exists(others), personal=True, memberships__user__in=people).distinct()


INSTRUCTIONS_LIMIT = 1500  # characters; about 400 tokens of every prompt
MOST_STARTERS, LONGEST_STARTER = 4, 120


def check_starters(value: Any) -> None:
    """A list of up to four short texts."""
    check_names(value)
    if len(value) > MOST_STARTERS or any(len(text) > LONGEST_STARTER for text in value):
        raise ValidationError(f"Write up to {MOST_STARTERS} suggestions of up to {LONGEST_STARTER} characters each.")


def check_names(value: Any) -> None:
    """A list of texts that say something, each once."""
    if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
        raise ValidationError("Write a list of texts, none of them empty.")
    if len(set(value)) < len(value):
        raise ValidationError("Name each once.")


class WhoInvites(models.TextChoices):
    ADMINS = "admins", "Owners and admins"
    MEMBERS = "members", "Every member"


class Tenant(models.Model):
    """An organisation, or one person's own space. People see it as a workspace."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=80)
    slug = models.SlugField(unique=True, max_length=40, help_text="The part of the address after /w/.")
    plan = models.ForeignKey("accounts.Plan", on_delete=models.PROTECT, related_name="tenants")
    personal = models.BooleanField(default=False)
    is_active = models.BooleanField(
        "active",
        default=True,
        help_text="Without it nobody enters, its keys are refused, and what is being written stops.",
    )
    accent = models.CharField(
        max_length=7,
        blank=True,
        validators=[RegexValidator(r"^#[0-9a-fA-F]{6}$", "Write a colour as #rrggbb.")],
    )
    welcome = models.CharField("welcome text", max_length=300, blank=True, help_text="Over the empty page.")
    starters = models.JSONField(
        default=list, blank=True, validators=[check_starters], help_text="Up to four suggestions on the empty page."
    )
    instructions = models.TextField(
        "default instructions",
        max_length=INSTRUCTIONS_LIMIT,
        validators=[MaxLengthValidator(INSTRUCTIONS_LIMIT)],
        blank=True,
        help_text="Told to the model before everybody's own.",
    )
    allowed_models = models.JSONField(
        default=list, blank=True, validators=[check_names], help_text="Empty: all that are on offer."
    )
    retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="After which chats are deleted, counted from their last message. Empty: kept.",
    )
    collects_feedback = models.BooleanField(
        default=True, help_text="Whether answers can be rated, and ratings are counted."
    )
    who_invites = models.CharField(max_length=10, choices=WhoInvites.choices, default=WhoInvites.ADMINS)
    requires_mfa = models.BooleanField(
        "second factor required", default=False, help_text="Members without one do not enter. API keys go on."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Closed since then; gone for good after its days of grace."
    )

    objects: ClassVar[Any] = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        verbose_name = "workspace"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("chat:new", args=[self.slug])

    def allows(self, model: str) -> bool:
        """Whether its people may use this model."""
        return not self.allowed_models or model in self.allowed_models

    def become_nameless(self) -> None:
        """Nothing in it tells whose it was."""
        self.name, self.slug, self.accent = "Erased", f"erased-{self.pk.hex[-12:]}", ""
        self.save(update_fields=["name", "slug", "accent"])


class Role(models.TextChoices):
    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    ANALYST = "analyst", "Analyst"
    MEMBER = "member", "Member"

    @property
    def rank(self) -> int:
        """Higher may change lower."""
        return (Role.MEMBER, Role.ANALYST, Role.ADMIN, Role.OWNER).index(self)


class Act(StrEnum):
    """What a role may be needed for."""

    SEE_REPORTS = "see_reports"
    INVITE = "invite"
    MANAGE_MEMBERS = "manage_members"  # roles, suspension, removal, groups, domains, invite links
    MANAGE_KEYS = "manage_keys"  # other people's too
    CHANGE_SETTINGS = "change_settings"
    SEE_USAGE = "see_usage"
    SEE_AUDIT = "see_audit"
    REQUEST_PLAN = "request_plan"
    TRANSFER = "transfer"
    DELETE = "delete"


LEAST_ROLE = {
    Act.SEE_REPORTS: Role.ANALYST,
    **dict.fromkeys((Act.INVITE, Act.MANAGE_MEMBERS, Act.MANAGE_KEYS, Act.CHANGE_SETTINGS, Act.SEE_USAGE), Role.ADMIN),
    **dict.fromkeys((Act.SEE_AUDIT, Act.REQUEST_PLAN, Act.TRANSFER, Act.DELETE), Role.OWNER),
}


class MembershipQuerySet(models.QuerySet["Membership"]):
    def active(self) -> MembershipQuerySet:
        """Those that let a person in: neither they, nor the person, nor the workspace suspended, nor that closed."""
        here = {"tenant__is_active": True, "tenant__deleted_at": None}
        return self.filter(suspended_at=None, user__is_active=True, **here)


class Membership(models.Model):
    """A person's place in a tenant."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships", verbose_name="workspace")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)
    suspended_at = models.DateTimeField("suspended", null=True, blank=True)

    objects: ClassVar[Any] = MembershipQuerySet.as_manager()

    class Meta:
        ordering = ("tenant", "user")
        verbose_name = "member"
        constraints = (
            models.UniqueConstraint(fields=("user", "tenant"), name="one_membership_per_tenant"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        )

    def __str__(self) -> str:
        return f"{self.user} in {self.tenant}"

    def can(self, act: Act) -> bool:
        """Whether the role allows it, and the workspace's settings where they widen it."""
        if act is Act.INVITE and self.tenant.who_invites == WhoInvites.MEMBERS:
            return True
        return Role(self.role).rank >= LEAST_ROLE[act].rank

    def outranks(self, role: str) -> bool:
        """Whether people of ``role`` are this person's to change: admins change admins, owners alone owners."""
        return self.can(Act.MANAGE_MEMBERS) and Role(self.role).rank >= Role(role).rank

    @property
    def can_see_reports(self) -> bool:
        return self.can(Act.SEE_REPORTS)


class Preferences(models.Model):
    """What one person chose, for all of their tenants."""

    class Theme(models.TextChoices):
        AUTO = "auto", "Same as my system"
        LIGHT = "light", "Light"
        DARK = "dark", "Dark"

    INSTRUCTIONS_LIMIT = INSTRUCTIONS_LIMIT

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="chosen")
    display_name = models.CharField(max_length=60, blank=True)
    theme = models.CharField(max_length=5, choices=Theme.choices, default=Theme.AUTO)
    default_model = models.CharField(max_length=200, blank=True, help_text="Empty: the operator's choice.")
    about = models.TextField("about me", max_length=INSTRUCTIONS_LIMIT, blank=True)
    style = models.TextField("how to answer", max_length=INSTRUCTIONS_LIMIT, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"Preferences of {self.user}"

    def clean(self) -> None:
        super().clean()
        self.display_name = one_line(self.display_name, len(self.display_name))
