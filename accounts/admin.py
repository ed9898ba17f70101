"""People, workspaces, plans and usage in the admin. Tenant rows are read across all tenants here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from allauth.account.admin import EmailAddressAdmin
from allauth.account.models import EmailAddress
from allauth.mfa import admin as _registers  # noqa: F401 - so that its page can be taken away
from allauth.mfa.models import Authenticator
from allauth.usersessions import admin as _registers_too  # noqa: F401 - as above
from allauth.usersessions.models import UserSession
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.admin import TabularInline

from chatapp.common.admin import CarefulAdmin, ChangedFieldsForm, ErasableAdmin, KeptAdmin, ReadOnlyAdmin
from chatapp.common.admin_lists import ExactFilter, MadeFilter

from .forms import NewUserForm, PasswordForm, UserForm
from .models import (
    ApiKey,
    AuditEvent,
    Domain,
    Erasure,
    Invitation,
    InviteLink,
    LedgerEntry,
    Membership,
    Plan,
    Preferences,
    Tenant,
    UsageDay,
    User,
)
from .owned_admin import MOST_OWNERS, OwnedAdmin
from .second_factor import reset_second_factor
from .services import begin_erasing, create_person, follow_address


class MembershipInline(TabularInline):
    model = Membership
    form = ChangedFieldsForm
    extra = 0
    autocomplete_fields = ("user", "tenant")


class PreferencesInline(TabularInline):
    model = Preferences
    form = ChangedFieldsForm
    extra = 0
    fields = ("display_name", "theme", "default_model")


class ErasedLaterAdmin(ErasableAdmin):
    """People and workspaces: shut out at once, and erased in the background, however much there is of them."""

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.delete_queryset(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: Iterable[Any]) -> None:
        begin_erasing(rows=queryset, by=request.user)  # type: ignore[arg-type]  # nobody else is let in
        messages.info(request, "They are shut out from now on. The list of erasures shows how far their rows are gone.")


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    """How far what is being erased is gone."""

    list_display = ("what", "progress", "asked_by", "asked_at", "ended_at")
    list_filter = (("ended_at", admin.EmptyFieldListFilter),)
    list_select_related = ("person", "workspace", "asked_by")
    search_fields = ("person__email__startswith", "workspace__slug__startswith")
    search_help_text = "The beginning of an e-mail address or of a workspace's address"
    fields = readonly_fields = ("what", "progress", "rows", "erased", "asked_by", "asked_at", "ended_at")

    @admin.display(description="What")
    def what(self, erasure: Erasure) -> str:
        return str(erasure)

    @admin.display(description="Gone")
    def progress(self, erasure: Erasure) -> str:
        return f"{erasure.percent} %"


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ErasedLaterAdmin):  # type: ignore[misc]  # stubs: Django has any paginator
    form = UserForm
    add_form = NewUserForm
    change_password_form = PasswordForm
    list_display = ("email", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email__startswith",)
    search_help_text = "The beginning of the e-mail address"
    ordering = ("-pk",)
    readonly_fields = ("date_joined", "last_login")
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("date_joined", "last_login")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "password1")}),)
    inlines = (MembershipInline, PreferencesInline)
    actions = ("reset_second_factors",)

    def get_inlines(self, request: HttpRequest, obj: User | None) -> tuple[Any, ...]:
        """A new person first; memberships and preferences once they exist."""
        return self.inlines if obj else ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        return super().get_search_results(request, queryset, search_term.lower())

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            create_person(user=obj, verified=True)
            return
        super().save_model(request, obj, form, change)
        if "email" in form.changed_data:
            follow_address(user=obj)

    @admin.action(description="Reset the second factor of the chosen people", permissions=("change",))
    def reset_second_factors(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = sum(reset_second_factor(person=person) for person in queryset)
        messages.success(request, f"{count} {'person logs' if count == 1 else 'people log'} in by password alone now.")


admin.site.unregister(Group)
admin.site.unregister(EmailAddress)
admin.site.unregister(UserSession)  # its page would show keys that log in
admin.site.unregister(Authenticator)  # its page would show the seeds; a reset is all that staff need


@admin.register(EmailAddress)
class AddressAdmin(EmailAddressAdmin, CarefulAdmin):  # type: ignore[misc]  # as above
    """allauth's, as the other lists are."""

    raw_id_fields = ()
    autocomplete_fields = ("user",)
    list_select_related = ("user",)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("email__startswith",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[EmailAddress], search_term: str
    ) -> tuple[QuerySet[EmailAddress], bool]:
        return super().get_search_results(request, queryset, search_term.lower())


@admin.register(Tenant)
class TenantAdmin(ErasedLaterAdmin):
    list_display = ("name", "slug", "plan", "is_active", "personal", "created_at", "deleted_at")
    list_filter = ("plan", "is_active", "personal")
    list_select_related = ("plan",)
    search_fields = ("slug",)
    search_help_text = "The beginning of its address or name, or of a member's e-mail address"
    readonly_fields = ("created_at", "deleted_at")
    ordering = ("-pk",)
    inlines = (MembershipInline,)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Tenant], search_term: str
    ) -> tuple[QuerySet[Tenant], bool]:
        words = search_term.strip().lower()
        if not words:
            return queryset, False
        members = Membership.objects.filter(user__email__startswith=words).values("tenant")
        named = Q(slug__startswith=words) | Q(name__istartswith=words)
        return queryset.filter(named | Q(pk__in=members)), False


@admin.register(Membership)
class MembershipAdmin(CarefulAdmin):
    list_display = ("user", "tenant", "role", "created_at", "suspended_at")
    list_filter = ("role", ("suspended_at", admin.EmptyFieldListFilter))
    list_select_related = ("user", "tenant")
    search_fields = ("user__email__startswith", "tenant__slug__startswith")
    ordering = ("-pk",)
    autocomplete_fields = ("user", "tenant")


class ApiKeyForm(ChangedFieldsForm):
    """A key acts for a member, in a workspace of theirs."""

    class Meta:
        model = ApiKey
        fields = ("name", "tenant", "user")

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        tenant, user = data.get("tenant"), data.get("user")
        if tenant and user and not Membership.objects.filter(tenant=tenant, user=user).exists():
            self.add_error("user", f"{user} is not a member of {tenant}.")
        return data


@admin.register(ApiKey)
class ApiKeyAdmin(KeptAdmin):
    """Made here and shown once; afterwards it can be renamed and revoked, and never deleted or moved."""

    form = ApiKeyForm
    list_display = ("name", "prefix", "tenant", "user", "created_at", "last_used_at", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    list_select_related = ("tenant", "user")
    search_fields = ("name", "prefix", "tenant__slug", "tenant__name", "user__email")
    autocomplete_fields = ("tenant", "user")
    actions = ("revoke",)
    made_template = "admin/accounts/apikey/made.html"

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return ("tenant", "user", "prefix", "created_at", "last_used_at", "revoked_at") if obj else ()

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if not change:
            request.new_secret = obj.draw_secret()  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """The secret in the answer itself: a message after a redirect would put it into a cookie or a table."""
        context = {
            **self.admin_site.each_context(request),
            "title": f"API key “{obj.name}”",
            "key": obj,
            "secret": request.new_secret,  # type: ignore[attr-defined]
            "list_url": reverse("admin:accounts_apikey_changelist"),
        }
        return TemplateResponse(request, self.made_template, context)

    @admin.action(description="Revoke the chosen keys", permissions=("change",))
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        count = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, f"Revoked {count} {'key' if count == 1 else 'keys'}.")


@admin.register(Plan)
class PlanAdmin(CarefulAdmin):
    list_display = (
        "name",
        "requests_per_minute",
        "tokens_per_day",
        "concurrent_answers",
        "weight",
        "max_output_tokens",
    )
    search_fields = ("name", "code")
    fieldsets = (
        (None, {"fields": ("name", "code", "position")}),
        ("How much", {"fields": ("requests_per_minute", "tokens_per_day", "concurrent_answers")}),
        ("How long", {"fields": ("max_context_tokens", "max_output_tokens")}),
        ("When it is busy", {"fields": ("weight", "longest_wait")}),
    )


@admin.register(UsageDay)
class UsageDayAdmin(OwnedAdmin):
    list_display = ("day", "tenant", "used", "reserved", "requests")
    list_filter = ("day",)
    list_select_related = ("tenant",)
    search_help_text = "The beginning of a workspace's address"
    ids = ("tenant",)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(OwnedAdmin):
    list_display = (
        "created_at",
        "tenant",
        "user",
        "work",
        "model",
        "prompt_tokens",
        "cached_tokens",
        "output_tokens",
    )
    list_filter = (MadeFilter, "work", ("model", ExactFilter))
    list_select_related = ("tenant", "user")
    ids = ("pk", "generation_id", "user", "tenant")


@admin.register(Invitation)
class InvitationAdmin(OwnedAdmin):
    list_display = ("email", "tenant", "role", "state", "created_by", "sent_at", "expires_at")
    list_filter = ("role",)
    list_select_related = ("tenant", "created_by")
    ids = ("pk", "created_by", "tenant")

    def by_words(self, words: str) -> Q:
        return super().by_words(words) | Q(email__startswith=words)


@admin.register(InviteLink)
class InviteLinkAdmin(OwnedAdmin):
    list_display = ("id", "tenant", "role", "used", "limit", "state", "created_by", "expires_at")
    list_filter = ("role",)
    list_select_related = ("tenant", "created_by")
    search_help_text = "An id, or the beginning of a workspace's address"
    ids = ("pk", "created_by", "tenant")


@admin.register(Domain)
class DomainAdmin(CarefulAdmin):
    """Here a domain is opened to a workspace without proof of an address: whoever runs the server vouches for it."""

    list_display = ("name", "tenant", "role", "created_at")
    list_select_related = ("tenant",)
    search_fields = ("name__startswith", "tenant__slug__startswith")
    search_help_text = "The beginning of a domain or of a workspace's address"
    autocomplete_fields = ("tenant",)
    fields = ("name", "tenant", "role")


@admin.register(AuditEvent)
class AuditEventAdmin(OwnedAdmin):
    list_display = ("at", "act", "tenant_id", "actor_id", "object_kind", "address")
    list_filter = (("act", ExactFilter),)
    search_help_text = "An id, or the beginning of the e-mail address of who acted, or of a workspace's address"
    ids = ("pk", "tenant_id", "actor_id")

    def by_words(self, words: str) -> Q:
        tenants = Tenant.objects.filter(slug__startswith=words).values("pk")[:MOST_OWNERS]
        people = User.objects.filter(email__startswith=words).values("pk")[:MOST_OWNERS]
        return Q(tenant_id__in=tenants) | Q(actor_id__in=people)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The database would refuse it."""
        return False
