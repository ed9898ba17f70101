"""Uvicorn with our WebSockets: whoever answers no ping is cut off, also when it takes nothing any more."""

from __future__ import annotations

import asyncio
import base64
import os
import socket

import pytest
import uvicorn
from websockets.frames import Frame, Opcode

from chatapp.serve.web_sockets import text_frame

CHUNK = b"x" * 65_536


@pytest.fixture
async def server():
    """An application that writes to its peer for as long as that takes it; ``told`` when the peer has gone."""
    told = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        writing = asyncio.create_task(write_on(send))
        while (await receive())["type"] != "websocket.disconnect":
            pass
        writing.cancel()
        told.set()

    async def write_on(send):
        while True:
            await send({"type": "websocket.send", "bytes": CHUNK})

    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        lifespan="off",
        ws="chatapp.serve.web_sockets:WebSockets",
        ws_ping_interval=0.2,
        ws_ping_timeout=0.2,
    )
    running = uvicorn.Server(config)
    running.told = told
    task = asyncio.create_task(running.serve())
    while not running.started:  # noqa: ASYNC110 -- uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield running
    running.should_exit = True
    await task


async def test_a_peer_that_reads_nothing_is_gone_with_all_that_waited_for_it(server):
    port = server.servers[0].sockets[0].getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as peer:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}"]
        peer.sendall("\r\n".join([*lines, "Sec-WebSocket-Version: 13", "", ""]).encode())
        await asyncio.wait_for(server.told.wait(), 10)
        assert not server.server_state.connections


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_a_text_is_framed_as_the_library_would(size):
    payload = b"x" * size
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
