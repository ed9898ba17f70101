"""A WebSocket's own ``send``, past the session middleware.

That looks at the session before every frame, in order to save it with the response of a page; a socket has none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Any, Send], Awaitable[None]]

NAME = "chatapp.send"


def keep_send(inner: App) -> App:
    """Middleware that leaves ``send`` in the scope for ``own_send``; what is outside of it still hears every frame."""

    async def app(scope: dict[str, Any], receive: Any, send: Send) -> None:
        await inner({**scope, NAME: send}, receive, send)

    return app


def own_send(scope: dict[str, Any], send: Send) -> Send:
    """What ``keep_send`` has kept, else ``send``."""
    found: Send = scope.get(NAME, send)
    return found
