"""The two servers that can stand before the application in the embedded product."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from channels.routing import get_default_application
from django.conf import settings


def run_uvicorn(host: str, port: int, on_loop: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    import uvicorn
    import uvloop

    config = uvicorn.Config(
        "chatapp.asgi:application",
        host=host,
        port=port,
        log_config=None,
        log_level="warning",
        ws_max_size=4 * settings.CHATAPP_MAX_MESSAGE_CHARACTERS + 10_000,  # a character takes at most 4 bytes
        http="chatapp.serve.http_connections:Http",
        ws="chatapp.serve.web_sockets:WebSockets",
        ws_per_message_deflate=False,  # frames of a few words grow by it, and cost more than they save
        timeout_graceful_shutdown=1,
    )

    async def serve() -> None:
        on_loop(asyncio.get_running_loop())
        await uvicorn.Server(config).serve()

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve())


def run_daphne(host: str, port: int, on_loop: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server, twisted_loop

    on_loop(twisted_loop)
    Server(get_default_application(), endpoints=build_endpoint_description_strings(host=host, port=port)).run()
