"""The way of jobs to workers and of tokens back. ``base`` is the contract; every kind passes its tests."""

from .base import Transport
from .local import LocalTransport, serve_local
from .memory import MemoryTransport
from .redis import RedisTransport

__all__ = ["LocalTransport", "MemoryTransport", "RedisTransport", "Transport", "serve_local"]
