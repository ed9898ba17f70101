"""allauth's forms that take a passkey, for whatever a stranger may send in its place."""

from __future__ import annotations

import json
import struct
from typing import Any

from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    EditWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django import forms
from django.core.exceptions import ValidationError
from fido2.webauthn import AuthenticationResponse, RegistrationResponse

from chatapp.common.text import one_line

LONGEST_NAME = 60  # characters
LONGEST_CREDENTIAL = 20_000  # characters; a chain of certificates takes some thousand
# What fido2 raises, of its own and of Python's, for bytes that are no passkey's.
UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error, RecursionError)


class CredentialField(forms.JSONField):
    """What a browser says of a passkey, as JSON that ``kind`` can read. It is kept as it is, within limits."""

    widget = forms.HiddenInput

    def __init__(self, kind: type[RegistrationResponse] | type[AuthenticationResponse]) -> None:
        super().__init__(max_length=None)
        self.kind = kind

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) > LONGEST_CREDENTIAL:
            raise ValidationError("That is no passkey.")
        try:
            credential = super().to_python(value)
            if credential is not None:
                self.kind.from_dict(credential)
        except UNREADABLE:
            raise ValidationError("That is no passkey.") from None
        if "\\u0000" in json.dumps(credential):
            raise ValidationError("That is no passkey.")
        return credential


class AddPasskeyForm(AddWebAuthnForm):  # type: ignore[misc]  # allauth is untyped
    credential = CredentialField(RegistrationResponse)

    def clean_name(self) -> str:
        return one_line(super().clean_name(), LONGEST_NAME)


class RenamePasskeyForm(EditWebAuthnForm):  # type: ignore[misc]  # as above
    def clean_name(self) -> str:
        name = one_line(self.cleaned_data["name"], LONGEST_NAME)
        if not name:
            raise ValidationError("Give it a name.")
        return name


class PasskeyForm(AuthenticateWebAuthnForm):  # type: ignore[misc]  # as above
    credential = CredentialField(AuthenticationResponse)


class PasskeyLoginForm(LoginWebAuthnForm):  # type: ignore[misc]  # as above
    credential = CredentialField(AuthenticationResponse)


class PasskeyAgainForm(ReauthenticateWebAuthnForm):  # type: ignore[misc]  # as above
    credential = CredentialField(AuthenticationResponse)
