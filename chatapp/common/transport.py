"""The process's transport, and hints to whoever shows a conversation."""

from __future__ import annotations

import hashlib
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import redis
import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings

from inference.errors import TransportUnavailable
from inference.transport import LocalTransport, RedisTransport, Transport

logger = structlog.get_logger(__name__)

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


def send_hint(group: str, message: dict[str, Any]) -> None:
    """Tell consumers in ``group`` that something changed. A hint may be lost; the database is the truth."""
    try:
        if _installed or settings.CHATAPP_REDIS_URL:
            async_to_sync(get_channel_layer().group_send)(group, message)
        else:
            _remote().hint(group, message)
    except redis.RedisError as error:
        logger.warning("hint.lost", group=group, error=str(error))
    except TransportUnavailable:
        return  # nobody serves pages, so nobody waits for the hint


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
