"""Who calls: the key in the Authorization header, which has to stay good for as long as its answers are written.

One query per process every two seconds, however many calls it serves: the database is what all processes share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from accounts.models import ApiKey
from chatapp.common.errors import ChatappError, Forbidden
from chatapp.common.threads import in_thread
from chatapp.common.watch import Watch

from .errors import InvalidKey

LOOK_SECONDS = 2.0  # the promise is five

End = Callable[[ChatappError], None]


def authenticate(authorization: str) -> ApiKey:
    """The caller's key, with tenant, plan and member; its use is noted.

    Raises ``InvalidKey``, and ``Forbidden`` when its workspace or member was suspended, or the member has left it.
    """
    scheme, _, secret = authorization.partition(" ")
    key = ApiKey.find(secret.strip()) if scheme.lower() == "bearer" and secret.strip() else None
    if error := _refusal(key):
        raise error
    assert key is not None
    key.note_use()
    return key


def find_refused(ids: Iterable[UUID]) -> dict[UUID, ChatappError]:
    """Of keys that were good those that are no more, with what their callers are told."""
    ids = set(ids)
    good = ApiKey.find_again(ids)
    refusals = {pk: _refusal(good.get(pk)) for pk in ids}
    return {pk: error for pk, error in refusals.items() if error}


def _refusal(key: ApiKey | None) -> ChatappError | None:
    if key is None:
        return InvalidKey()
    if not key.member_is_active:
        return Forbidden("The workspace of this API key, or the member it acts for there, is no longer active.")
    return None


class KeyWatch(Watch[End, UUID]):
    """Calls the listeners of keys that are no longer good with what their callers are told, each once."""

    def seconds(self) -> float:
        return LOOK_SECONDS

    async def look(self) -> None:
        if not self._listeners:
            return
        refused = await in_thread(find_refused)(list(self._listeners.values()))
        for end, key in list(self._listeners.items()):
            if key in refused:
                self.remove(end)
                end(refused[key])


key_watch = KeyWatch()
