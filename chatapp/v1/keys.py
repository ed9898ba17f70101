"""Who calls: the key in the Authorization header."""

from __future__ import annotations

from accounts.models import ApiKey
from chatapp.common.errors import Forbidden

from .errors import InvalidKey


def authenticate(authorization: str) -> ApiKey:
    """The caller's key, with tenant, plan and member; its use is noted.

    Raises ``InvalidKey``, and ``Forbidden`` when its member was suspended or has left the workspace.
    """
    scheme, _, secret = authorization.partition(" ")
    key = ApiKey.find(secret.strip()) if scheme.lower() == "bearer" and secret.strip() else None
    if key is None:
        raise InvalidKey
    if not key.member_is_active:
        raise Forbidden("The member this API key acts for is no longer active in its workspace.")
    key.note_use()
    return key
