"""Where a person is logged in: seen, shown as devices, ended."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from django.db import transaction
from django.utils import timezone

from .audit import record_act
from .models import User

# The first that an agent names; many name others as well.
BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows")),
    *(("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux")),
)


def note_session_seen(*, key: str, address: str | None) -> None:
    seen = {"last_seen_at": timezone.now()} | ({"ip": address} if address else {})
    UserSession.objects.filter(session_key=key).update(**seen)


def end_sessions(*, person: User, current: str, only: int | None = None) -> int:
    """End one of a person's sessions, or all; never the ``current`` one. Their sockets close within seconds.

    Returns how many ended.
    """
    rows = UserSession.objects.filter(user=person).exclude(session_key=current)
    with transaction.atomic():
        ended = list(rows if only is None else rows.filter(pk=only))
        for session in ended:
            session.end()
        if ended:
            record_act("session.ended", tenant=None, thing=person, after={"count": len(ended)})
    return len(ended)


def device_of(agent: str) -> str:
    """ "Firefox on Linux" of what a program calls itself; its own first word where it is no browser we know."""
    browser = next((name for mark, name in BROWSERS if mark in agent), agent.split("/", maxsplit=1)[0][:40].strip())
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    return f"{browser or 'Unknown program'} on {system}" if system else browser or "Unknown program"
