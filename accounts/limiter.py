"""Requests of the last minute, counted in Redis for all processes; while it is away, by each process for itself.

Such a process lets through as much as the plan allows, so that several let through several times that: a person who
wants an answer is worth more than the limit for as long. See docs/adr/0002-login-limits.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import structlog
from django.conf import settings
from limits import RateLimitItem, WindowStats
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

logger = structlog.get_logger(__name__)

AWAY_SECONDS = 5.0  # until the shared counts are asked for again, so that not everybody waits for them
TIMEOUTS = {"socket_connect_timeout": 1.0, "socket_timeout": 2.0}

R = TypeVar("R")


class Limiter:
    """Moving windows. ``address`` is a storage's of the ``limits`` package; none of its verbs fails."""

    def __init__(self, address: str) -> None:
        options = {} if address.startswith("memory:") else TIMEOUTS
        self._shared = MovingWindowRateLimiter(storage_from_string(address, wrap_exceptions=True, **options))
        self._own = MovingWindowRateLimiter(storage_from_string("memory://"))
        self._away_until = 0.0

    def hit(self, item: RateLimitItem, *names: str) -> bool:
        """Count one more, if there is room for it."""
        return self._ask(lambda limiter: limiter.hit(item, *names))

    def window(self, item: RateLimitItem, *names: str) -> WindowStats:
        return self._ask(lambda limiter: limiter.get_window_stats(item, *names))

    def _ask(self, question: Callable[[MovingWindowRateLimiter], R]) -> R:
        if time.monotonic() >= self._away_until:
            try:
                return question(self._shared)
            except StorageError as error:
                self._away_until = time.monotonic() + AWAY_SECONDS
                logger.warning("limits.away", error=str(error.storage_error))
        return question(self._own)


@cache
def get_limiter() -> Limiter:
    """The process's own."""
    return Limiter(settings.CHATAPP_LIMITS_STORAGE)
