"""Sign-up and login, labelled in plain words."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import LoginForm as AllauthLoginForm
from allauth.account.forms import SignupForm as AllauthSignupForm


class SignupForm(AllauthSignupForm):
    """E-mail and one password; a forgotten one is reset by mail."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _label(self, email="email", password1="new-password")


class LoginForm(AllauthLoginForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _label(self, login="email", password="current-password")  # noqa: S106


def _label(form: Any, **autocomplete: str) -> None:
    """Name the fields "Email" and "Password", without placeholders that vanish when typing."""
    for name, token in autocomplete.items():
        field = form.fields[name]
        field.label = "Email" if name in ("email", "login") else "Password"
        field.widget.attrs["autocomplete"] = token
        field.widget.attrs.pop("placeholder", None)
