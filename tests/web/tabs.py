"""One socket as a page holds it, and what a test reads of an answer."""

from __future__ import annotations

import uuid

import orjson
from channels.testing import WebsocketCommunicator

from chatapp.asgi import application
from chatapp.chat.models import Message


class Tab:
    """One socket, as a page holds it."""

    def __init__(self, slug: str, cookie: str) -> None:
        headers = [
            (b"cookie", f"sessionid={cookie}".encode()),
            (b"origin", b"http://testserver"),
            (b"host", b"testserver"),
        ]
        self._socket = WebsocketCommunicator(application, f"/ws/w/{slug}/", headers)

    async def open(self) -> dict:
        connected, _ = await self._socket.connect(timeout=5)
        assert connected
        return await self.next()

    async def raw(self, text: str) -> None:
        await self._socket.send_to(text_data=text)

    async def send(self, kind: str, **fields) -> None:
        await self.raw(orjson.dumps({"type": kind, **fields}, default=str).decode())

    async def next(self) -> dict:
        return orjson.loads(await self._socket.receive_from(timeout=5))

    async def next_or_code(self) -> dict | int:
        """The next frame, or the code that the socket is closed with."""
        told = await self._socket.receive_output(timeout=5)
        return told["code"] if told["type"] == "websocket.close" else orjson.loads(told["text"])

    async def until(self, *kinds: str) -> list[dict]:
        frames = [await self.next()]
        while frames[-1]["type"] not in kinds:
            frames.append(await self.next())
        return frames

    async def one(self, kind: str) -> dict:
        return (await self.until(kind))[-1]

    async def ask(self, text="Hello", **fields) -> dict:
        await self.send("send", ref="r", key=uuid.uuid4(), text=text, **fields)
        return await self.one("accepted")

    async def closed_with(self, saying: dict | None = None) -> int:
        """The code; of a client that is ``saying`` something before it is told."""
        await self._socket.connect(timeout=5)
        if saying:
            await self.send(**saying)
        return (await self._socket.receive_output(timeout=5))["code"]

    async def close(self) -> None:
        await self._socket.disconnect()


async def stored(message_id) -> Message:
    return await Message.everyone.aget(pk=message_id)


def text_of(frames) -> str:
    return "".join(frame["text"] for frame in frames if frame["type"] == "tokens")
