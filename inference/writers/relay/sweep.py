"""What has come on all of a relay's responses, taken together with one look.

A task for each response would be woken for each of its tokens, which costs more than reading them does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

Take = Callable[[bytes], bool]  # the next part of a body; True when that was enough


@dataclass(slots=True, eq=False)
class _Body:
    content: aiohttp.StreamReader
    take: Take
    over: asyncio.Future[bool]  # whether it was enough
    taken: int  # bytes

    def look(self) -> bool:
        """Take what has come; whether there was anything."""
        content = self.content
        if content.total_bytes == self.taken and not content.is_eof() and content.exception() is None:
            return False
        if self.over.done():
            return False
        try:
            enough = self._take()
            if enough or content.at_eof():
                self.over.set_result(enough)
        except Exception as error:  # whatever it is, it is for the task that reads this body
            self.over.set_exception(error)
        return True

    def _take(self) -> bool:
        """Raises what has ended the connection, once that is taken which came before."""
        content, error = self.content, self.content.exception()
        if error is not None:
            content.set_exception(None)  # type: ignore[arg-type]  # it would keep what came before it
        data = content.read_nowait()
        self.taken += len(data)
        enough = bool(data) and self.take(data)
        if error is not None and not enough:
            raise error
        return enough


class Sweep:
    """Used in one event loop. ``news`` is called when something was taken."""

    def __init__(self, news: Callable[[], None]) -> None:
        self._news = news
        self._bodies: set[_Body] = set()

    @property
    def has_bodies(self) -> bool:
        return bool(self._bodies)

    async def read(self, content: aiohttp.StreamReader, take: Take) -> bool:
        """Give ``take`` a body as it comes, its first part at once and the others with each ``look``, until its end or
        until it was enough, which is returned. Raises what ``take`` raises.
        """
        data = await content.readany()
        enough = take(data)
        self._news()
        if enough or content.at_eof():
            return enough
        over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        body = _Body(content, take, over, len(data))
        self._bodies.add(body)
        try:
            return await over
        finally:
            self._bodies.discard(body)

    def look(self) -> bool:
        """Take what has come on every body; whether there was anything."""
        found = [body for body in self._bodies if body.look()]
        if found:
            self._news()
        return bool(found)
