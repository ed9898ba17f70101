"""Uvicorn with our HTTP: nobody holds a connection for ever without having asked for anything."""

from __future__ import annotations

import asyncio
import base64
import os
import time

import pytest
import uvicorn

from chatapp.serve.http_connections import Http

WEBSOCKET = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n"
HEAD = "GET / HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
async def port(monkeypatch):
    """An application that says how much it was sent, and keeps a WebSocket open."""
    monkeypatch.setattr(Http, "asking_seconds", 0.4)

    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        size, more = 0, True
        while more:
            event = await receive()
            size, more = size + len(event.get("body", b"")), event.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"%d" % size})

    options = {"port": 0, "log_config": None, "lifespan": "off", "timeout_keep_alive": 30}
    http, ws = "chatapp.serve.http_connections:Http", "chatapp.serve.web_sockets:WebSockets"
    server = uvicorn.Server(uvicorn.Config(app, http=http, ws=ws, **options))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def dropped_after(port: int, text: bytes, *, pause: float, seconds: float = 3.0) -> float | None:
    """Say ``text``, a byte in every ``pause``; the seconds until the connection was cut, None when it was not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    saying = asyncio.create_task(say(writer, text, pause))
    try:
        async with asyncio.timeout(seconds):
            while await reader.read(1000):
                pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return None
    finally:
        saying.cancel()
        writer.close()
    return time.monotonic() - began


async def say(writer: asyncio.StreamWriter, text: bytes, pause: float) -> None:
    for at in range(len(text)):
        writer.write(text[at : at + 1])
        await asyncio.sleep(pause)


HANDSHAKE = (HEAD + WEBSOCKET.format(base64.b64encode(os.urandom(16)).decode())).encode()


@pytest.mark.parametrize(
    ("text", "pause"),
    [(b"", 1.0), (b"GET / HTTP/1.1\r\nX: " + b"x" * 1000, 0.01), (HANDSHAKE, 0.05)],
    ids=["says nothing", "never ends its head", "shakes hands slowly"],
)
async def test_who_never_asks_is_dropped(port, text, pause):
    seconds = await dropped_after(port, text, pause=pause)
    assert seconds is not None
    assert 0.3 < seconds < 2


async def test_the_second_request_of_a_connection_has_as_long(port):
    text = HEAD.encode() + b"\r\n" + HEAD.encode() + b"X: " + b"x" * 1000
    seconds = await dropped_after(port, text, pause=0.005)
    assert seconds is not None
    assert 0.4 < seconds < 2.5


async def test_a_hundred_who_say_nothing_keep_nobody_waiting(port):
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD.encode() + b"\r\n")
    assert b"200 OK" in await asyncio.wait_for(reader.readline(), 2)
    ends = await asyncio.wait_for(asyncio.gather(*(end.read() for end, _ in idle), return_exceptions=True), 3)
    assert len(ends) == 100
    for _, its in [*idle, (reader, writer)]:
        its.close()


async def test_a_slow_body_an_open_socket_and_a_quiet_connection_are_left_alone(port):
    body = HEAD.encode().replace(b"GET", b"POST") + b"Content-Length: 9\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(body)
    await say(writer, b"123456789", 0.1)
    assert b"200 OK" in await asyncio.wait_for(reader.readline(), 2)
    await asyncio.sleep(0.6)  # quiet, and asked again
    writer.write(HEAD.encode() + b"\r\n")
    assert (await asyncio.wait_for(reader.readuntil(b"200 OK"), 2)).endswith(b"200 OK")
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE)
    assert b"101" in await reader.readline()
    await asyncio.sleep(0.8)
    assert not reader.at_eof()
    writer.close()
