"""Hints to whoever shows a conversation that something about it has changed."""

from __future__ import annotations

from typing import Any

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from inference.errors import TransportUnavailable
from inference.transport import MAYBE_AWAY, LocalTransport, is_away

from .transport import get_transport

logger = structlog.get_logger(__name__)


def send_hint(group: str, message: dict[str, Any]) -> None:
    """Tell consumers in ``group`` that something changed. A hint may be lost; the database is the truth."""
    transport = get_transport()
    try:
        if isinstance(transport, LocalTransport):  # the pages are served by another process, which passes it on
            transport.hint(group, message)
        else:
            async_to_sync(get_channel_layer().group_send)(group, message)
    except MAYBE_AWAY as error:
        if not is_away(error):
            raise
        logger.warning("hint.lost", group=group, error=str(error))
    except TransportUnavailable:
        return  # nobody serves pages, so nobody waits for the hint
