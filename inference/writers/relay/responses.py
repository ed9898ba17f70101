"""A server's response: what its status means, and what its body says as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import aiohttp
import orjson

from ...errors import UpstreamUnavailable
from .bodies import read_bounded
from .server import Server
from .sse import LONGEST_EVENT, EventParser
from .stream_chunks import BUSY, Piece, plain_texts, read_error, read_piece, read_pieces
from .sweep import Sweep

MOST_PAUSE = 30.0  # seconds a server that says it is busy is left alone

Hear = Callable[[Iterable[Piece]], bool]  # True when that was enough
HearTexts = Callable[[list[str]], bool]


async def read_response(
    response: aiohttp.ClientResponse, sweep: Sweep, hear: Hear, hear_texts: HearTexts | None = None
) -> None:
    """Give ``hear`` what the response says as it comes. A server that does not stream says all at once.

    ``hear_texts`` is given what is text and nothing else, a token each: it costs a third of what pieces do.
    """
    if response.content_type == "application/json":
        hear([read_piece(b"", await read_bounded(response, LONGEST_EVENT))])
        return
    parser = EventParser()

    def take(data: bytes) -> bool:
        if hear_texts and parser.is_between and (texts := plain_texts(data)):
            return hear_texts(texts)
        return hear(read_pieces(parser.feed(data)))

    if not await sweep.read(response.content, take):
        hear(read_pieces(parser.finish()))


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
