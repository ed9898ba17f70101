"""An OpenAI-compatible server that writes numbered words, at a pace, and fails as it is told to.

Like vLLM it lists its model, streams with usage, and goes on with a last assistant message when it is asked to
with ``continue_final_message``; so that an answer put together from several of them can be compared word by word.

``python -m tests.fake_upstream --port 8100 --rate 20`` serves until it is stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

DONE = b"data: [DONE]\n\n"


def word(number: int) -> str:
    return f"w{number} "


def words(count: int, first: int = 0) -> str:
    return "".join(map(word, range(first, first + count)))


@dataclass(slots=True)
class Fault:
    """What goes wrong with one request after ``after`` words: ``status`` (before any), ``cut``, ``hang``, or ``raw``
    bytes in place of the rest.
    """

    kind: str
    after: int = 0
    status: int = 500
    raw: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class FakeUpstream:
    """Serves from a thread of its own between ``start`` and ``close``. ``rate``: words per second, 0 at once."""

    def __init__(self, *, rate: float = 0.0, length: int = 20, owner: str = "vllm", usage: bool = True) -> None:
        self.rate, self.length, self.usage = rate, length, usage
        self.healthy, self.listed, self.context = True, True, 0
        self.listing: dict[str, Any] = {"id": "fake", "object": "model", "owned_by": owner, "root": "fake-1"}
        self.faults: deque[Fault] = deque()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.open = 0  # requests being answered
        self.left_at = 0.0  # when a client last went away before its end, by time.monotonic
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, port: int = 0) -> FakeUpstream:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._do(self._listen(port))
        return self

    def close(self) -> None:
        """Stop listening and cut every connection; ``start`` cannot follow."""
        if not self._loop.is_closed():
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self, port: int) -> None:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, backlog=2048)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _end(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def _models(self, request: web.Request) -> web.Response:
        if not self.listed:
            return web.Response(status=404)
        model = self.listing | ({"max_model_len": self.context} if self.context else {})
        return web.json_response({"object": "list", "data": [model]}, status=200 if self.healthy else 503)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        fault = self.faults.popleft() if self.faults else Fault("none")
        if fault.kind == "status":
            return web.Response(status=fault.status, body=fault.raw, headers=fault.headers)
        self.open += 1
        try:
            return await self._stream(request, body, fault)
        except (asyncio.CancelledError, ConnectionError):
            self.left_at = time.monotonic()
            raise
        finally:
            self.open -= 1

    async def _stream(self, request: web.Request, body: dict[str, Any], fault: Fault) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream"} | fault.headers
        response = web.StreamResponse(headers=headers)
        first = len(body["messages"][-1]["content"].split()) if body.get("continue_final_message") else 0
        last = min(self.length, first + body.get("max_tokens", self.length))
        stop = first + fault.after if fault.kind != "none" else last
        await response.prepare(request)
        began = time.monotonic()
        for number in range(first, min(stop, last)):
            if self.rate:
                await asyncio.sleep(max(0.0, began + (number - first) / self.rate - time.monotonic()))
            await response.write(event({"choices": [{"index": 0, "delta": {"content": word(number)}}]}))
        if fault.kind == "hang":
            await asyncio.sleep(60)
        if fault.kind == "cut":
            request.transport.abort()  # type: ignore[union-attr]
            return response
        await response.write(fault.raw if fault.kind == "raw" else self._ending(body, first, last))
        await response.write_eof()
        return response

    def _ending(self, body: dict[str, Any], first: int, last: int) -> bytes:
        reason = "stop" if last == self.length else "length"
        ending = event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        if self.usage and body.get("stream_options", {}).get("include_usage"):
            prompt = sum(len(message["content"].split()) for message in body["messages"])
            counts = {"prompt_tokens": prompt, "completion_tokens": last - first}
            ending += event({"choices": [], "usage": counts | {"prompt_tokens_details": {"cached_tokens": 1}}})
        return ending + DONE


def event(message: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps({"object": "chat.completion.chunk", "model": "fake"} | message) + b"\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--length", type=int, default=400)
    options = parser.parse_args()
    upstream = FakeUpstream(rate=options.rate, length=options.length).start(options.port)
    print(upstream.url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
