"""What the web costs: the whole stack against the same engine called directly.

``python -m benchmarks.stack --json FILE``. Starts the product as ``make run`` does, measures the time
to ready, then for 1, 4 and 16 concurrent chats the time to the first token and tokens per second, each
run alternating with the bare engine in a process of its own. Only ratios of one run mean anything.
The clients share the machine with the product. Loopback only; stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.workload import QUESTION, machine, summary
from tests.e2e.server import ROOT, Product

STREAMS = (1, 4, 16)
TARGET = 0.9  # of the engine's own tokens per second, at 16 streams


class Chat:
    """A person with one open socket, who asks for the same answer again and again."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self._socket: aiohttp.ClientWebSocketResponse
        self._answer = ""
        self._frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def sign_up(self) -> None:
        page = await (await self._session.get(f"{self._url}/accounts/signup/")).text()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token
        form = {"email": f"{uuid.uuid4().hex}@example.com", "password1": "a quiet green kettle"}
        form["csrfmiddlewaretoken"] = token[1]
        await self._session.post(f"{self._url}/accounts/signup/", data=form, headers={"Referer": self._url})
        home = await self._session.get(f"{self._url}/", allow_redirects=False)
        slug = home.headers["Location"].split("/")[2]
        address = f"{self._url.replace('http', 'ws', 1)}/ws/w/{slug}/"
        self._socket = await self._session.ws_connect(address, headers={"Origin": self._url})
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """All the time, as a page does: a socket that nobody reads answers no pings and is closed."""
        async for message in self._socket:
            self._frames.put_nowait(json.loads(message.data))

    async def close(self) -> None:
        self._reader.cancel()
        await self._session.close()

    async def ask(self) -> tuple[int, float]:
        """One answer. Returns its tokens, and milliseconds to the first."""
        request = {"type": "send", "text": QUESTION}
        if self._answer:
            request = {"type": "regenerate", "message": self._answer}
        sent, first = time.perf_counter(), 0.0
        await self._socket.send_json({**request, "ref": 1, "key": str(uuid.uuid4())})
        while True:
            frame = await asyncio.wait_for(self._frames.get(), 60)
            if frame["type"] == "error":
                raise RuntimeError(frame["error"]["message"])
            if frame["type"] == "accepted":
                self._answer = frame["answer"]["id"]
            elif frame["type"] == "tokens" and not first:
                first = (time.perf_counter() - sent) * 1000
            elif frame["type"] == "end":
                return frame["output_tokens"], first


async def open_chats(url: str) -> list[Chat]:
    """People who have asked once: the first answer of a conversation also makes a title."""
    jars = (aiohttp.CookieJar(unsafe=True) for _ in range(max(STREAMS)))
    chats = [Chat(aiohttp.ClientSession(cookie_jar=jar), url) for jar in jars]
    for chat in chats:
        await chat.sign_up()
    await asyncio.gather(*(chat.ask() for chat in chats))
    await asyncio.sleep(3)
    return chats


async def measure_web(chats: list[Chat], answers: int) -> dict[str, Any]:
    async def several(chat: Chat) -> list[tuple[int, float]]:
        return [await chat.ask() for _ in range(answers)]

    began = time.perf_counter()
    results = [result for run in await asyncio.gather(*map(several, chats)) for result in run]
    seconds = time.perf_counter() - began
    return {
        "tokens": sum(tokens for tokens, _ in results),
        "seconds": seconds,
        "first_token_ms": [first for _, first in results],
    }


class Direct:
    """``benchmarks.engine_direct`` in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.engine_direct"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def measure(self, streams: int, answers: int) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"streams": streams, "answers": answers}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def measure_start(product: Product) -> dict[str, float]:
    """Seconds until the pages answer and until the model is ready; the second start is the warm one."""
    began = time.perf_counter()
    product.start(wait=False)
    while product.status("/healthz") != 200:
        time.sleep(0.02)
    pages = time.perf_counter() - began
    product.wait_until_ready()
    return {"pages": round(pages, 2), "ready": round(time.perf_counter() - began, 2)}


def lift_limits(product: Product) -> None:
    product.execute(
        "update accounts_plan set requests_per_minute = null, tokens_per_day = null, concurrent_answers = 64"
    )


async def run(rounds: int) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": machine(), "streams": {}}
    with tempfile.TemporaryDirectory() as folder:
        product = Product(Path(folder) / "var")
        measure_start(product)
        product.stop()
        result["warm_start_seconds"] = measure_start(product)
        lift_limits(product)
        direct, chats = Direct(), []
        try:
            chats = await open_chats(product.url)
            for streams in STREAMS:
                answers = 6 if streams == 1 else 3
                pairs = []
                for number in range(rounds):
                    print(f"{streams} streams, round {number + 1} of {rounds}", file=sys.stderr, flush=True)
                    bare = await asyncio.to_thread(direct.measure, streams, answers)
                    pairs.append((bare, await measure_web(chats[:streams], answers)))
                result["streams"][streams] = compare([bare for bare, _ in pairs], [web for _, web in pairs])
        finally:
            for chat in chats:
                await chat.close()
            direct.close()
            product.stop()
    return result


def compare(bare: list[dict[str, Any]], web: list[dict[str, Any]]) -> dict[str, Any]:
    engine, stack = summary(bare), summary(web)
    ratio = stack["tokens_per_second"] / engine["tokens_per_second"]
    return {"engine": engine, "stack": stack, "stack_to_engine": round(ratio, 3)}


def show(result: dict[str, Any]) -> None:
    start = result["warm_start_seconds"]
    print(f"make run (warm): pages after {start['pages']} s, model ready after {start['ready']} s\n")
    print("streams  engine tok/s  stack tok/s  ratio   first token p50/p95 ms (stack)   (engine)")
    for streams, row in result["streams"].items():
        engine, stack = row["engine"], row["stack"]
        print(
            f"{streams:>7}  {engine['tokens_per_second']:>12}  {stack['tokens_per_second']:>11}  "
            f"{row['stack_to_engine']:>5}   {stack['first_token_p50_ms']:>14} / {stack['first_token_p95_ms']:<14}"
            f"  {engine['first_token_p50_ms']} / {engine['first_token_p95_ms']}"
        )
    print(f"\nTarget at 16 streams: {TARGET}. Machine: {result['machine']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = asyncio.run(run(options.rounds))
    show(result)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
