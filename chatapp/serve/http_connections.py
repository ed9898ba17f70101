"""Uvicorn's HTTP, with an end for callers that stop reading: ``uvicorn --http chatapp.serve.http_connections:Http``.

An answer that is streamed waits for its caller to take what was written. One that is there and takes nothing would keep
its connection, and the answer behind it, for ever. Its connection is dropped; the application then sees that it has
left, 40 to 80 s after the caller took its last. Whoever takes some of it in every 40 s is waited for.

Nor does it wait for ever for a request: who has not said all of its head in 20 s, a WebSocket's handshake included, is
dropped as well.
"""

from __future__ import annotations

import sys
from asyncio import TimerHandle, Transport
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Http(HttpToolsProtocol):
    """See above. Nothing else differs."""

    stalled_seconds = 40.0  # as long as a WebSocket's ping may go unanswered

    asking_seconds = 20.0  # for a request's head

    _stalled: TimerHandle | None = None
    _asking: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as its own base has it
        super().connection_made(transport)
        self._expect()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect()

    def on_headers_complete(self) -> None:
        self._heard()
        super().on_headers_complete()

    def _expect(self) -> None:
        """A request's head, from now on. What it has begun with was heard of before."""
        self._asking = self._asking or self.loop.call_later(self.asking_seconds, self.transport.abort)

    def _heard(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._heard()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._forget()
        self._stalled = self.loop.call_later(self.stalled_seconds, self._look, self._untaken())

    def _look(self, before: int) -> None:
        """``before`` bytes had not been taken a while ago; nothing was added meanwhile."""
        if self._untaken() < before:
            self._watch()
        else:
            self.transport.abort()

    def _untaken(self) -> int:
        """Bytes here and in the kernel, which asks for more only once a good part of its own are gone."""
        return self.transport.get_write_buffer_size() + _queued(self.transport.get_extra_info("socket"))

    def _forget(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def _queued(connection: Any) -> int:
    """Bytes in the kernel that the peer has not acknowledged; 0 where it does not tell."""
    try:
        return int.from_bytes(ioctl(connection.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0
