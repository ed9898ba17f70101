"""The way of jobs to workers and of tokens back. ``base`` is the contract; every kind passes its tests."""

from .base import Transport
from .local import LocalTransport, serve_local
from .memory import MemoryTransport
from .redis import RedisTransport
from .redis_away import MAYBE_AWAY, is_away

__all__ = [
    "MAYBE_AWAY",
    "LocalTransport",
    "MemoryTransport",
    "RedisTransport",
    "Transport",
    "is_away",
    "serve_local",
]
