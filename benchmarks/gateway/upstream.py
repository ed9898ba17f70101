"""A model server that costs as little as it can: an OpenAI-compatible one on bare sockets, in a process of its own.

Every token is its number and the microsecond in which it was sent, on the clock that all processes of a machine
share: ``17.3f2a1b``. So whoever reads it knows how long it was on its way, and whether one is missing. How many
tokens and how fast is said by the question (see ``question``).

``python -m benchmarks.gateway.upstream`` prints its port and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import Any

import orjson
import uvloop

MODEL = "fake"
WANTED = re.compile(r"Write (\d+) tokens, (\d+) a second")
AT_ONCE = 16  # tokens between two looks around, where there is no pace
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}


def question(tokens: int, rate: int) -> str:
    """``rate`` 0 is as fast as the reader takes them."""
    return f"Write {tokens} tokens, {rate} a second"


def token(number: int) -> str:
    return f"{number}.{time.monotonic_ns() // 1000:x} "


def read_tokens(text: str) -> list[tuple[int, float]]:
    """Numbers, and when each was sent in seconds of ``time.monotonic``. The reverse of ``token``."""
    pairs = (word.split(".") for word in text.split())
    return [(int(number), int(at, 16) / 1e6) for number, at in pairs]


def _choice(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}


def _event(message: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(CHUNK | message) + b"\n\n"


BEFORE, AFTER = _event(_choice({"content": "@"})).split(b"@")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """One request after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._data = b""
        self._transport: Any = None
        self._timer: asyncio.Handle | None = None
        self._paused = False
        self._sent = self._tokens = self._rate = self._prompt = 0
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._timer:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._timer is None and self._tokens:
            self._timer = self._loop.call_soon(self._write)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        told = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        length = int(told[1]) if told else 0
        if len(rest) >= length:
            self._data = rest[length:]
            self._answer(head.split(b" ", 2)[1], rest[:length])

    def _answer(self, path: bytes, body: bytes) -> None:
        if path.endswith(b"/chat/completions"):
            self._begin(orjson.loads(body))
        else:
            models = {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "vllm"}]}
            text = orjson.dumps(models)
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    def _begin(self, body: dict[str, Any]) -> None:
        messages = body["messages"]
        wanted = WANTED.search(messages[-1]["content"])
        self._tokens, self._rate = (int(wanted[1]), int(wanted[2])) if wanted else (4, 0)
        self._prompt = sum(len(message["content"]) for message in messages) // 4
        self._sent, self._began = 0, self._loop.time()
        self._transport.write(HEAD)
        self._write()

    def _write(self) -> None:
        """What is due, and when to look again. A paused reader of an unpaced answer wakes it itself."""
        self._timer = None
        last = min(self._tokens, self._sent + (1 if self._rate else AT_ONCE))
        pieces = [_framed(BEFORE + token(number).encode() + AFTER) for number in range(self._sent, last)]
        self._transport.write(b"".join(pieces))
        self._sent = last
        if self._sent == self._tokens:
            self._end()
        elif self._rate:
            self._timer = self._loop.call_at(self._began + self._sent / self._rate, self._write)
        elif not self._paused:
            self._timer = self._loop.call_soon(self._write)

    def _end(self) -> None:
        counts = {"prompt_tokens": self._prompt, "completion_tokens": self._tokens}
        usage = _event({"choices": [], "usage": counts | {"total_tokens": sum(counts.values())}})
        ending = _event(_choice({}, "stop")) + usage + b"data: [DONE]\n\n"
        self._transport.write(_framed(ending) + b"0\r\n\r\n")
        self._tokens = 0


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve())
