"""Uvicorn's WebSockets, with an end for peers that are gone: ``uvicorn --ws chatapp.ops.web_sockets:WebSockets``.

Uvicorn closes a connection whose ping nobody answers only once all that was written to it has been sent. A peer that
stops reading never takes it, so that the connection and everything that waits to write to it would stay for ever.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

FAREWELL_SECONDS = 1.0  # for whoever still reads to be told why


class WebSockets(WebSocketsSansIOProtocol):
    """See above. Nothing else differs."""

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.loop.call_later(FAREWELL_SECONDS, self.transport.abort)
