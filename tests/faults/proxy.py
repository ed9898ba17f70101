"""A connection that dies without a word: a proxy that from some moment on takes everything and passes on nothing."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

CHUNK = 65_536


class Proxy:
    """In front of ``target``, an address of a web process. ``cut`` is set once that has ended a connection itself."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._server: asyncio.Server | None = None
        self._passing = True
        self._pumps: set[asyncio.Task[None]] = set()
        self.cut = asyncio.Event()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        for pump in self._pumps:
            pump.cancel()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def swallow(self) -> None:
        """From now on nothing arrives, and nobody is told."""
        self._passing = False

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection(self._target.hostname, self._target.port)
        pumps = (self._pump(reader, behind[1]), self._pump(behind[0], writer, tell=True))
        self._pumps |= {asyncio.create_task(pump) for pump in pumps}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tell: bool = False) -> None:
        try:
            while data := await reader.read(CHUNK):
                if self._passing:
                    writer.write(data)
                    await writer.drain()
        except ConnectionError:
            pass  # ended, and not politely
        if tell and not self._passing:
            self.cut.set()
        if self._passing:
            writer.close()
