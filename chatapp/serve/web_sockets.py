"""Uvicorn's WebSockets, with an end for peers that are gone: ``uvicorn --ws chatapp.serve.web_sockets:WebSockets``.

Uvicorn closes a connection whose ping nobody answers only once all that was written to it has been sent. A peer that
stops reading never takes it, so that the connection and everything that waits to write to it would stay for ever.

Texts are framed here, too: there is one for every token, and the library makes four objects for each.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

WHOLE_TEXT = 0x81  # a frame's first byte: a text, and nothing of it to follow
FAREWELL_SECONDS = 1.0  # for whoever still reads to be told why


class WebSockets(WebSocketsSansIOProtocol):
    """See above. Nothing else differs."""

    async def send(self, message: ASGISendEvent) -> None:
        await self.writable.wait()
        text = message.get("text") if message["type"] == "websocket.send" else None
        if text is None or not self._is_plain():
            await super().send(message)
        else:
            self.transport.write(text_frame(text.encode()))

    def _is_plain(self) -> bool:
        """Open, with frames that are sent as they are."""
        closing = self.disconnected or self.close_sent or not self.handshake_complete
        return not closing and self.conn.state is State.OPEN and not self.conn.extensions

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.loop.call_later(FAREWELL_SECONDS, self.transport.abort)


def text_frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:  # noqa: PLR2004
        return b"%c%c%b" % (WHOLE_TEXT, size, payload)
    if size < 65_536:  # noqa: PLR2004
        return struct.pack("!BBH", WHOLE_TEXT, 126, size) + payload
    return struct.pack("!BBQ", WHOLE_TEXT, 127, size) + payload
