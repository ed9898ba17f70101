"""Sessions in the database, for keys that could be one of ours."""

from __future__ import annotations

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """A cookie may hold anything; what the database cannot even look for, such as U+0000, is no session."""

    def _validate_session_key(self, key: str | None) -> bool:
        known = super()._validate_session_key(key)  # type: ignore[misc]  # of which the stubs know nothing
        return bool(known and key and key.isascii() and key.isalnum())
