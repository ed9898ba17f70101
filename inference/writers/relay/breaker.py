"""A circuit breaker, pure: the clock is injected.

Closed, it lets everything through. After ``failures`` in a row it is open, and lets nothing through for a
pause; then it is half-open: one request goes through, and its end closes the breaker or opens it
again, for twice as long.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds


class Breaker:
    def __init__(self, clock: Callable[[], float], *, failures: int = 3) -> None:
        self._clock, self._limit = clock, failures
        self._failures = 0
        self._pause = 0.0  # 0: closed
        self._until = 0.0
        self._trying = False

    @property
    def is_closed(self) -> bool:
        return not self._pause

    @property
    def allows(self) -> bool:
        """Whether a request may go through now."""
        return self.is_closed or (not self._trying and self._clock() >= self._until)

    def begin(self) -> None:
        """A request goes through; ``succeeded``, ``failed`` or ``abandoned`` follows."""
        self._trying = not self.is_closed

    def succeeded(self) -> None:
        self._failures, self._pause, self._trying = 0, 0.0, False

    def failed(self) -> None:
        self._failures += 1
        if self._trying or (self.is_closed and self._failures >= self._limit):
            self._pause = min(2 * self._pause, LONGEST_PAUSE) or FIRST_PAUSE
            self._until, self._trying = self._clock() + self._pause, False

    def abandoned(self) -> None:
        """The request was given up before it told anything."""
        self._trying = False
