"""How many sockets a person may hold in this process, and how fast each may ask."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from uuid import UUID

from django.conf import settings

from chatapp.common.errors import RateLimited

TOO_MANY = 4429  # close code of docs/protocol.md
BURST_SECONDS = 5  # of frames at once: a page that comes back asks for all that it shows
PATIENCE, FORGIVEN_A_SECOND = 200, 1.0  # refusals before the socket is closed


class Flooded(Exception):
    """Whoever asks goes on however often it is refused."""


class Bucket:
    """Gives ``most`` at once, and ``rate`` a second from then on. ``clock`` in seconds."""

    def __init__(self, rate: float, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._clock = rate, most, clock
        self._left, self._then = most, clock()

    def take(self) -> float:
        """0 when there was one to be had; else nothing is taken, and these are the seconds until there is."""
        now = self._clock()
        self._left, self._then = min(self._most, self._left + (now - self._then) * self._rate), now
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0.0


class FrameLimit:
    """The frames of one socket."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        rate = settings.CHATAPP_FRAMES_PER_SECOND
        self._frames = Bucket(rate, rate * BURST_SECONDS, clock)
        self._refusals = Bucket(FORGIVEN_A_SECOND, PATIENCE, clock)

    def count(self) -> None:
        """One more. Raises ``RateLimited``, or ``Flooded`` once that has been said often enough."""
        if seconds := self._frames.take():
            if self._refusals.take():
                raise Flooded
            raise RateLimited("This page asks too often. Wait a moment.", retry_after=math.ceil(seconds))


class OpenSockets:
    """Those of this process, by person and by workspace."""

    def __init__(self) -> None:
        self._people: Counter[UUID] = Counter()
        self._workspaces: Counter[UUID] = Counter()

    def enter(self, person: UUID, workspace: UUID) -> bool:
        """False, and nothing is counted, where the person or the workspace has as many as they may."""
        if self._people[person] >= settings.CHATAPP_SOCKETS_PER_PERSON:
            return False
        if self._workspaces[workspace] >= settings.CHATAPP_SOCKETS_PER_WORKSPACE:
            return False
        self._people[person] += 1
        self._workspaces[workspace] += 1
        return True

    def leave(self, person: UUID, workspace: UUID) -> None:
        for counter, name in ((self._people, person), (self._workspaces, workspace)):
            counter[name] -= 1
            if counter[name] <= 0:
                del counter[name]


open_sockets = OpenSockets()
