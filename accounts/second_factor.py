"""A person's second factor: how its secrets are kept, whether there is one, and its end by staff."""

from __future__ import annotations

import base64
import hashlib
from io import BytesIO

import qrcode
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from qrcode.image.svg import SvgPathFillImage

from .audit import record_act
from .models import User

FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)  # recovery codes stand in for one of these


class SecondFactorAdapter(DefaultMFAAdapter):
    """Seeds of codes are encrypted under the secret key: a copy of the database alone makes no code."""

    def encrypt(self, text: str) -> str:
        return _keys().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _keys().decrypt(encrypted_text).decode()

    def get_totp_issuer(self) -> str:
        return settings.CHATAPP_BRAND

    def build_totp_svg(self, url: str) -> str:
        """An ``<svg>`` to stand in a page: no XML declaration, no styles, white behind it in dark pages too."""
        drawn = BytesIO()
        qrcode.make(url, image_factory=SvgPathFillImage).save(drawn)
        return drawn.getvalue().decode().partition("?>")[2].strip()

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        count = Authenticator.objects.filter(user=user, type=type).count()
        return f"Passkey {count + 1}"


def has_second_factor(user: User) -> bool:
    return Authenticator.objects.filter(user=user, type__in=FACTORS).exists()


def having_factor(user: str) -> Exists:
    """Whether the person in the column ``user`` has one, for a query."""
    return Exists(Authenticator.objects.filter(user=OuterRef(user), type__in=FACTORS))


def reset_second_factor(*, person: User) -> bool:
    """Remove all of it, for somebody who has lost it: they log in by password alone. False where there was none."""
    with transaction.atomic():
        kinds = sorted(Authenticator.objects.filter(user=person).values_list("type", flat=True))
        if kinds:
            Authenticator.objects.filter(user=person).delete()
            record_act("second_factor.reset", tenant=None, thing=person, before={"kinds": kinds})
    return bool(kinds)


def _keys() -> MultiFernet:
    """Of the secret key, and of those before it, which still open what they have closed."""
    return MultiFernet([_key(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _key(secret: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"second-factor:" + secret.encode()).digest()))
