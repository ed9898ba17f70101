"""What people do to their own way in leaves events. allauth's views do it, and its signals are what they tell it by."""

from __future__ import annotations

from typing import Any

from allauth.account.signals import password_changed, password_reset, password_set
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset

from .audit import record_act
from .models import User

ACTS = {
    authenticator_added: "second_factor.added",
    authenticator_removed: "second_factor.removed",
    authenticator_reset: "second_factor.new_codes",
}


def connect() -> None:
    for signal, act in ACTS.items():
        signal.connect(_told_by(act), weak=False, dispatch_uid=act)
    for signal in (password_changed, password_set, password_reset):
        signal.connect(_note_password, dispatch_uid="password.changed")


def _told_by(act: str) -> Any:
    def note(*, user: User, authenticator: Authenticator, **told: Any) -> None:
        record_act(act, tenant=None, thing=user, actor=user.pk, after={"kind": authenticator.type})

    return note


def _note_password(*, user: User, **told: Any) -> None:
    record_act("password.changed", tenant=None, thing=user, actor=user.pk)
