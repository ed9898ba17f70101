"""The process's transport: what everyone who asks, reads or settles an answer reaches the line and the logs through."""

from __future__ import annotations

import hashlib
import tempfile
from functools import cache
from pathlib import Path

from django.conf import settings

from inference.transport import LocalTransport, RedisTransport, Transport

LONGEST_SOCKET_PATH = 100  # the kernel's limit is 108 bytes
_installed: list[Transport] = []


def install_transport(transport: Transport) -> None:
    """Make ``transport`` this process's own: ``serve`` holds the one everyone else reaches over a socket."""
    _installed[:] = [transport]


def get_transport() -> Transport:
    """The installed transport, the one in Redis where there is Redis, or a client of the process that has one."""
    if _installed:
        return _installed[0]
    return _redis(settings.CHATAPP_REDIS_URL) if settings.CHATAPP_REDIS_URL else _remote()


def socket_path() -> Path:
    """Where the serving process listens; in the system's temporary folder when ``var`` lies too deep."""
    path: Path = settings.CHATAPP_TRANSPORT_SOCKET
    if len(str(path).encode()) <= LONGEST_SOCKET_PATH:
        return path
    return Path(tempfile.gettempdir()) / f"chatapp-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.sock"


def socket_key() -> bytes:
    """Known to processes that hold the secret key, and to nobody else."""
    return hashlib.sha256(b"transport:" + settings.SECRET_KEY.encode()).digest()


@cache
def _redis(url: str) -> RedisTransport:
    return RedisTransport(url)


@cache
def _remote() -> LocalTransport:
    return LocalTransport(socket_path(), socket_key())
