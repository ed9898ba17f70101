"""What a door says when the database or the queue cannot be reached: the one error for all of it."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

from chatapp.common.errors import Unavailable
from inference.errors import TransportUnavailable
from inference.transport import MAYBE_AWAY, is_away

RETRY_SECONDS = 5
MESSAGE = "Part of the service cannot be reached at the moment. Nothing you wrote is lost; please try again."


def as_unavailable(error: BaseException | None) -> Unavailable | None:
    """None for an error that will not pass by itself."""
    passing = isinstance(error, OperationalError | InterfaceError | TransportUnavailable)
    if passing or (isinstance(error, MAYBE_AWAY) and not isinstance(error, OSError) and is_away(error)):
        return Unavailable(MESSAGE, retry_after=RETRY_SECONDS)
    return None
