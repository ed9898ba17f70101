"""Sign-up, login and the admin's form for a new person, labelled in plain words."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import LoginForm as AllauthLoginForm
from allauth.account.forms import SignupForm as AllauthSignupForm
from django import forms
from django.contrib.auth.password_validation import password_validators_help_text_html, validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.forms import AdminPasswordChangeForm, UserChangeForm
from unfold.widgets import UnfoldAdminPasswordWidget

from chatapp.common.admin import ChangedFieldsForm

from .models import User


class SignupForm(AllauthSignupForm):
    """E-mail and one password; a forgotten one is reset by mail."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _label(self, email="email", password1="new-password")

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        """An address that was free a moment ago, as with a double click: the way on is to log in."""
        try:
            saved: tuple[User | None, HttpResponse | None] = super().try_save(request)
        except IntegrityError:
            if not User.objects.filter(email__iexact=self.cleaned_data["email"]).exists():
                raise
            return None, redirect("account_login")
        return saved


class LoginForm(AllauthLoginForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _label(self, login="email", password="current-password")  # noqa: S106


class NewUserForm(forms.ModelForm):  # type: ignore[type-arg]
    """A person made by an admin: address and password, which is held to what sign-up asks."""

    password1 = forms.CharField(
        label="Password",
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=password_validators_help_text_html,
    )

    class Meta:
        model = User
        fields = ("email",)

    def _post_clean(self) -> None:
        """Once the address is known, which a password may not resemble."""
        super()._post_clean()  # type: ignore[misc]  # the stubs do not have it
        password = self.cleaned_data.get("password1", "")
        self.instance.set_password(password)
        try:
            validate_password(password, self.instance)
        except ValidationError as error:
            self.add_error("password1", error)


class UserForm(ChangedFieldsForm, UserChangeForm):
    """A person, changed by an admin while they change themselves."""


class PasswordForm(AdminPasswordChangeForm):
    """A person's new password, set by an admin. Saves nothing else of the person."""

    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit=False)
        if commit:
            user.save(update_fields=["password"])
        return user


def _label(form: Any, **autocomplete: str) -> None:
    """Name the fields "Email" and "Password", without placeholders that vanish when typing."""
    for name, token in autocomplete.items():
        field = form.fields[name]
        field.label = "Email" if name in ("email", "login") else "Password"
        field.widget.attrs["autocomplete"] = token
        field.widget.attrs.pop("placeholder", None)
