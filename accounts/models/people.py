"""User, Tenant, Membership, Preferences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.urls import reverse

from chatapp.common.ids import uuid7


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
    def of(self, user: User) -> TenantQuerySet:
        """The tenants a person belongs to and may enter, their own first."""
        return self.filter(memberships__user=user, is_active=True).order_by("-personal", "name")

    def personal_of(self, people: Iterable[User]) -> TenantQuerySet:
        """Their own tenants, as far as nobody else is in them."""
        others = Membership.objects.filter(tenant=models.OuterRef("pk")).exclude(user__in=people)
        return self.filter(~models.Exists(others), personal=True, memberships__user__in=people).distinct()


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
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[Any] = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        verbose_name = "workspace"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("chat:new", args=[self.slug])

    def become_nameless(self) -> None:
        """Nothing in it tells whose it was."""
        self.name, self.slug, self.accent = "Erased", f"erased-{self.pk.hex[-12:]}", ""
        self.save(update_fields=["name", "slug", "accent"])


class Role(models.TextChoices):
    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    ANALYST = "analyst", "Analyst"
    MEMBER = "member", "Member"


class MembershipQuerySet(models.QuerySet["Membership"]):
    def active(self) -> MembershipQuerySet:
        """Of people and tenants that were not suspended."""
        return self.filter(user__is_active=True, tenant__is_active=True)


class Membership(models.Model):
    """A person's place in a tenant."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships", verbose_name="workspace")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

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

    @property
    def can_see_reports(self) -> bool:
        return self.role in (Role.OWNER, Role.ADMIN, Role.ANALYST)


class Preferences(models.Model):
    """What one person chose, for all of their tenants."""

    class Theme(models.TextChoices):
        AUTO = "auto", "Same as my system"
        LIGHT = "light", "Light"
        DARK = "dark", "Dark"

    INSTRUCTIONS_LIMIT = 1500  # characters; about 400 tokens each of every prompt

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
