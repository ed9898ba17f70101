"""People and programs who read answers, on bare sockets: what is measured is not to wait for them.

``Answer`` is what came of one question. ``Page`` is a browser's WebSocket, ``Caller`` a program with a key, who
may also ask the model server itself or another gateway.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import struct
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.gateway.upstream import read_tokens

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
CONNECT_SECONDS = 60.0
Address = tuple[str, int]


class Refused(Exception):
    """The answer did not begin, or broke off; with what was said."""


@dataclass(slots=True)
class Answer:
    """Times in seconds of ``time.monotonic``, one of each list per token."""

    asked: float = field(default_factory=time.monotonic)
    numbers: list[int] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    text: int = 0  # characters that came
    stored: int | None = None  # characters in the database, as the end says; None where it does not
    ended: bool = False
    error: str = ""

    def take(self, text: str) -> None:
        now = time.monotonic()
        self.text += len(text)
        for number, sent in read_tokens(text):
            self.numbers.append(number)
            self.sent.append(sent)
            self.at.append(now)


class Wire(asyncio.Protocol):
    """One connection. ``_data`` is what came and was not yet understood."""

    def __init__(self) -> None:
        self._data = b""
        self._transport: Any = None
        self._answer: Answer | None = None
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self, address: Address) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, *address)

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._fail(f"closed: {error or 'by the server'}")

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            self._understand()
        except Exception as error:  # a protocol's exception would be logged, and its reader wait for ever
            self._fail(f"{type(error).__name__}: {error}")

    def _understand(self) -> None:
        raise NotImplementedError

    async def _hear(self, answer: Answer, seconds: float) -> Answer:
        """``answer`` with its end, or with why it has none."""
        try:
            async with asyncio.timeout(seconds):
                await self._done
            answer.ended = True
        except (Refused, TimeoutError) as error:
            answer.error = str(error) or "no end in time"
        return answer

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _fail(self, why: str) -> None:
        if not self._done.done():
            self._done.set_exception(Refused(why))
            self._done.exception()  # asked for, so that nobody who does not wait hears of it


class Page(Wire):
    """A logged-in page on a conversation of its own. Connected once its welcome has come."""

    def __init__(self, person: dict[str, str], slug: str) -> None:
        super().__init__()
        self._person, self._slug = person, slug
        self._upgraded = False

    async def open(self, address: Address) -> None:
        await self.connect(address)
        host, key = f"{address[0]}:{address[1]}", base64.b64encode(os.urandom(16)).decode()
        headers = {"Host": host, "Origin": f"http://{host}", "Upgrade": "websocket", "Connection": "Upgrade"}
        headers |= {"Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
        headers["Cookie"] = f"sessionid={self._person['session']}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(f"GET /ws/w/{self._slug}/ HTTP/1.1\r\n{lines}\r\n".encode())
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._done

    async def ask(self, text: str, seconds: float) -> Answer:
        self._done = asyncio.get_running_loop().create_future()
        self._answer = Answer()
        frame = {"type": "send", "ref": 1, "key": str(uuid.uuid4()), "text": text}
        self._send(TEXT, orjson.dumps(frame | {"conversation": self._person["conversation"]}))
        return await self._hear(self._answer, seconds)

    def _send(self, kind: int, payload: bytes) -> None:
        """One frame; masked with zeros, which is a mask like any other."""
        if not self._transport:
            raise Refused("closed")
        size = len(payload)
        head = struct.pack("!BB", 128 | kind, 128 | size) if size < 126 else struct.pack("!BBH", 128 | kind, 254, size)
        self._transport.write(head + bytes(4) + payload)

    def _understand(self) -> None:
        if not self._upgraded:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head:
                raise Refused(head.partition(b"\r\n")[0].decode())
            self._upgraded, self._data = True, rest
        while frame := read_frame(self._data):
            kind, payload, size = frame
            self._data = self._data[size:]
            self._frame(kind, payload)

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == PING:
            self._send(PONG, payload)
        elif kind == CLOSE:
            raise Refused(f"closed with {payload[:2].hex()}")
        elif kind == TEXT:
            self._message(orjson.loads(payload))

    def _message(self, frame: dict[str, Any]) -> None:
        kind, answer = frame["type"], self._answer
        if kind == "tokens" and answer:
            answer.take(frame["text"])
        elif kind == "end" and answer:
            answer.stored = frame["length"]
            self._finish()
        elif kind == "error":
            self._fail(frame["error"]["code"])
        elif kind == "resync":
            self._fail("resync")
        elif kind == "welcome":
            self._finish()


def read_frame(data: bytes) -> tuple[int, bytes, int] | None:
    """The first whole frame that a server sent: its kind, its payload, and its size with its head."""
    if len(data) < 2:
        return None
    length, start = data[1] & 127, 2
    if length >= 126:
        start = 4 if length == 126 else 10
        if len(data) < start:
            return None
        length = int.from_bytes(data[2:start])
    whole = start + length
    return (data[0] & 15, data[start:whole], whole) if len(data) >= whole else None


class Caller(Wire):
    """A program: one connection, one streamed completion.

    Reads events wherever they stand between the lines of chunks; every server here sends whole events a chunk.
    """

    def __init__(self, key: str, model: str) -> None:
        super().__init__()
        self._key, self._model = key, model

    async def ask(self, address: Address, text: str, seconds: float) -> Answer:
        answer = self._answer = Answer()
        try:
            await self.connect(address)
        except OSError as error:
            answer.error = str(error)
            return answer
        body = {"model": self._model, "stream": True, "messages": [{"role": "user", "content": text}]}
        data = orjson.dumps(body)
        headers = f"Host: 127.0.0.1\r\nAuthorization: Bearer {self._key}\r\nContent-Type: application/json\r\n"
        head = f"POST /v1/chat/completions HTTP/1.1\r\n{headers}Content-Length: {len(data)}\r\n\r\n"
        self._transport.write(head.encode() + data)
        with contextlib.closing(self):
            return await self._hear(answer, seconds)

    def _understand(self) -> None:
        if self._data.startswith(b"HTTP/1.1 ") and not self._data.startswith(b"HTTP/1.1 200"):
            raise Refused(self._data.partition(b"\r\n")[0].decode())
        while (start := self._data.find(b"data: ")) >= 0 and (end := self._data.find(b"\n\n", start)) >= 0:
            event, self._data = self._data[start + 6 : end], self._data[end + 2 :]
            self._event(event)

    def _event(self, event: bytes) -> None:
        if event == b"[DONE]":
            self._finish()
            return
        message = orjson.loads(event)
        if "error" in message:
            raise Refused(str(message["error"].get("code")))
        for choice in message["choices"]:
            if (text := choice["delta"].get("content")) and self._answer:
                self._answer.take(text)
