"""llama.cpp's server over loopback HTTP, asked with token ids; one connection for each answer.

The client keeps out of the server's way: it only notes when bytes come, and reads them once the answer is over.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from benchmarks.loads import Ask
from benchmarks.peers.base import Event, Spec, die_with_parent

START_SECONDS = 120
OVER = b'"stop":true'


@dataclass(slots=True)
class _Stream:
    """What came of an answer so far; ``ends[i]`` bytes were there at ``at[i]``."""

    name: str
    data: bytearray = field(default_factory=bytearray)
    ends: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def take(self, more: bytes) -> None:
        self.data += more
        self.ends.append(len(self.data))
        self.at.append(time.perf_counter())

    def event(self, finished: bool) -> Event:
        token_ids, at, cached = [], [], None
        for message, end in _messages(bytes(self.data)):
            tokens = message.get("tokens", [])
            token_ids += tokens
            at += [next(at for at, had in zip(self.at, self.ends, strict=True) if had >= end)] * len(tokens)
            cached = message.get("timings", {}).get("cache_n", cached)
        return Event(self.name, token_ids, at, finished, cached)


def _messages(data: bytes) -> list[tuple[dict[str, Any], int]]:
    """The server-sent events of a response, each with the place of its end."""
    found, start = [], 0
    while (start := data.find(b"data: {", start)) >= 0 and (end := data.find(b"\n\n", start)) >= 0:
        found.append((json.loads(data[start + 6 : end]), end))
        start = end
    return found


class LlamaServer:
    def __init__(self, spec: Spec) -> None:
        self.port = _free_port()
        self.kind = spec.options["kind"]
        self.process = subprocess.Popen(
            _command(spec, self.port),
            stdout=subprocess.DEVNULL,
            stderr=sys.stderr,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has no threads
        )
        self.selector = selectors.DefaultSelector()
        self._wait()

    def add(self, ask: Ask, prompt: list[int]) -> None:
        body = json.dumps(_request(prompt, ask.max_tokens)).encode()
        head = f"POST /completion HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(head.encode() + body)
        connection.setblocking(False)
        self.selector.register(connection, selectors.EVENT_READ, _Stream(ask.name))

    def step(self, patience: float) -> list[Event]:
        ready = [key for key, _ in self.selector.select(max(0.0, patience))]
        return [event for key in ready if (event := self._read(key))]

    def abort(self) -> list[Event]:
        return [self._close(key, finished=False) for key in list(self.selector.get_map().values())]

    def facts(self) -> dict[str, Any]:
        return {"weights": self.kind}

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def _read(self, key: selectors.SelectorKey) -> Event | None:
        more = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
        key.data.take(more)
        if OVER in key.data.data[-len(more) - 4096 :]:
            return self._close(key, finished=True)
        if not more:
            raise RuntimeError(f"the server answered {bytes(key.data.data[:500])!r}")
        return None

    def _close(self, key: selectors.SelectorKey, *, finished: bool) -> Event:
        self.selector.unregister(key.fileobj)
        key.fileobj.close()  # type: ignore[union-attr]
        event: Event = key.data.event(finished)
        return event

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2)
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise RuntimeError("the server did not start")


def _request(prompt: list[int], max_tokens: int) -> dict[str, Any]:
    greedy = {"temperature": 0, "samplers": ["top_k"], "top_k": 1, "ignore_eos": True}
    return {"prompt": prompt, "n_predict": max_tokens, "stream": True, "cache_prompt": True, **greedy}


def _command(spec: Spec, port: int) -> list[str]:
    """Every stream a slot of its own size; pages for the browser and the copy of idle slots switched off."""
    threads, slot = str(spec.threads), -(-spec.longest // 256) * 256
    return [
        spec.options["server"],
        *("--model", spec.options["gguf"], "--host", "127.0.0.1", "--port", str(port)),
        *("--threads", threads, "--threads-batch", threads, "--parallel", str(spec.streams)),
        *("--ctx-size", str(slot * spec.streams), "--cache-ram", "0", "--no-webui", "--log-disable"),
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def build(spec: Spec) -> LlamaServer:
    return LlamaServer(spec)
