"""A server's response: what its status means, and what its body says as it comes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import aiohttp
import orjson

from ..errors import UpstreamUnavailable
from .bodies import read_bounded
from .pieces import BUSY, Piece, read_error, read_piece
from .server import Server
from .sse import LONGEST_EVENT, EventParser

MOST_PAUSE = 30.0  # seconds a server that says it is busy is left alone


async def stream_pieces(response: aiohttp.ClientResponse) -> AsyncIterator[Piece]:
    """What the response says, until it says that it is done. A server that does not stream sends all at once."""
    if response.content_type == "application/json":
        yield read_piece(b"", await read_bounded(response, LONGEST_EVENT))
        return
    parser = EventParser()
    async for chunk in response.content.iter_any():
        for name, data in parser.feed(chunk):
            yield read_piece(name, data)
    for name, data in parser.finish():
        yield read_piece(name, data)


async def check_status(response: aiohttp.ClientResponse, server: Server) -> None:
    """Raises the error that the status means."""
    if response.status == 200:  # noqa: PLR2004
        return
    if response.status in BUSY:
        pause = response.headers.get("Retry-After", "")
        server.paused_until = time.monotonic() + min(MOST_PAUSE, float(pause) if pause.isdigit() else 1.0)
        raise UpstreamUnavailable(f"it is busy ({response.status})")
    body = await read_bounded(response, LONGEST_EVENT)
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = body[:200].decode("utf-8", "replace")
    raise read_error(said, response.status)
