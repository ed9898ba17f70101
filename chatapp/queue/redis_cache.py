"""Django's cache in Redis, which goes on in this process's own memory while Redis is away.

What is kept in it is counts of tries (allauth's): each process then counts for itself, and nobody is kept from logging
in. See docs/adr/0002-login-limits.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache

from inference.transport import MAYBE_AWAY, is_away

logger = structlog.get_logger(__name__)

AWAY_SECONDS = 5.0  # until Redis is asked again, so that not everybody waits for it
_asked_again = {"at": 0.0}  # the caches of a process are one for each thread


def _steady(name: str) -> Callable[..., Any]:
    def method(cache: SteadyCache, *args: Any, **options: Any) -> Any:
        if time.monotonic() >= _asked_again["at"]:
            try:
                return getattr(RedisCache, name)(cache, *args, **options)
            except MAYBE_AWAY as error:
                if not is_away(error):
                    raise
                _asked_again["at"] = time.monotonic() + AWAY_SECONDS
                logger.warning("cache.away", error=str(error))
        return getattr(cache.memory, name)(*args, **options)

    return method


class SteadyCache(RedisCache):
    """``LOCATION`` and ``OPTIONS`` as for ``RedisCache``."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self.memory = LocMemCache("while-redis-is-away", params)

    add, get, set, touch, delete = map(_steady, ("add", "get", "set", "touch", "delete"))
    get_many, set_many, delete_many = map(_steady, ("get_many", "set_many", "delete_many"))
    has_key, incr, clear = map(_steady, ("has_key", "incr", "clear"))
