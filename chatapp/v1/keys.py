"""Who calls: the key in the Authorization header, which has to stay good for as long as its answers are written.

One query per process every two seconds, however many calls it serves: the database is what all processes share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from accounts.models import ApiKey
from chatapp.common.errors import ChatappError, Forbidden, ModelNotFound
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


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was good, and the model that it was good for."""

    key: UUID
    model: str


def find_refused(callers: Iterable[Caller]) -> dict[Caller, ChatappError]:
    """Those that may not have their answers any more, with what they are told."""
    callers = set(callers)
    good = ApiKey.find_again(caller.key for caller in callers)
    refusals = {caller: _refusal(good.get(caller.key), caller.model) for caller in callers}
    return {caller: error for caller, error in refusals.items() if error}


def _refusal(key: ApiKey | None, model: str = "") -> ChatappError | None:
    if key is None:
        return InvalidKey()
    if not key.member_is_active:
        return Forbidden("The workspace of this API key, or the member it acts for there, is no longer active.")
    if model and not key.tenant.allows(model):
        return ModelNotFound()
    return None


class KeyWatch(Watch[End, Caller]):
    """Calls the listeners of callers that may no longer have their answers with what they are told, each once."""

    def seconds(self) -> float:
        return LOOK_SECONDS

    async def look(self) -> None:
        if not self._listeners:
            return
        refused = await in_thread(find_refused)(list(self._listeners.values()))
        for end, caller in list(self._listeners.items()):
            if caller in refused:
                self.remove(end)
                end(refused[caller])


key_watch = KeyWatch()
