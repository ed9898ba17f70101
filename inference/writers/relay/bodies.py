"""Bodies that are read whole, in bounded memory."""

from __future__ import annotations

import aiohttp

from ...errors import UpstreamError


async def read_bounded(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body. Raises ``UpstreamError`` for one over ``most`` bytes."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            raise UpstreamError(f"it sent a body of over {most:,} bytes")
    return b"".join(parts)
