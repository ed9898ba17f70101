"""What the product adds between a model server and its readers, and what that costs.

``python -m benchmarks.gateway --json FILE``. A fake model server writes every answer at a pace and stamps each token;
between it and the readers are PostgreSQL, Redis, one web process, one relaying worker and Celery, as in production.
Logged-in people read over WebSockets, with quotas and persistence on; programs over /v1; and the same programs read
from the model server itself (``direct``), which is what the machine, the model server and the readers allow.
Everything shares one machine. Loopback only; stops by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.gateway.figures import Case
from benchmarks.gateway.load import Ask, calling, measure_idle, open_pages, paging, run
from benchmarks.gateway.peer import KEY, LiteLLM
from benchmarks.gateway.product import Product, Upstream
from benchmarks.gateway.upstream import MODEL
from benchmarks.peers.known import LITELLM
from benchmarks.workload import machine

KINDS = ("paced", "burst", "fastest")
DOORS = ["direct", "websocket", "v1", "litellm"]
BURST = Case(streams=100, tokens=60, rate=20, starts=100.0)  # all begun within a second
FASTEST = Case(streams=16, tokens=2000, rate=0, starts=1000.0)
WARM = Case(streams=20, tokens=20, rate=20, starts=20.0)

Door = tuple[Ask, Any]  # how to ask there, and whose use to tell


class Bench:
    """``result`` is written to ``path`` after every case."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._people = options, max(*options.streams, BURST.streams)
        self.result: dict[str, Any] = {
            "date": datetime.now(UTC).isoformat(timespec="minutes"),
            "machine": machine(),
            "rate": options.rate,
            "starts_per_second": options.starts,
            "steady_seconds": options.hold,
        }
        self._measure: dict[str, Door] = {}

    async def measure(self) -> dict[str, Any]:
        with _folder() as folder:
            upstream = Upstream()
            try:
                with Product(folder, upstream, self._people) as product:
                    await self._all(folder, upstream, product)
            finally:
                upstream.close()
        return self.result

    async def _all(self, folder: Path, upstream: Upstream, product: Product) -> None:
        peer = LiteLLM(folder, upstream) if "litellm" in self._options.peers else None
        pages = await open_pages(product, self._people)
        doors: dict[str, Door] = {
            "direct": (calling(upstream.address, "", MODEL), None),
            "websocket": (paging(pages), product),
            "v1": (calling(product.address, product.key, MODEL), product),
        }
        if peer:
            doors["litellm"] = (calling(peer.address, KEY, MODEL), peer)
        self._measure = {name: door for name, door in doors.items() if name in self._options.doors}
        try:
            await self._cases()
        finally:
            for page in pages:
                page.close()
            if peer:
                peer.close()
        if self._options.idle:
            self.result["idle"] = await measure_idle(product, self._options.idle)
            self._keep()

    async def _cases(self) -> None:
        for door in self._measure:
            if errors := (await self._one(door, WARM))["errors"]:
                raise RuntimeError(f"{door} does not work: {errors}")
        for streams in self._options.streams:
            tokens = round(self._options.rate * (streams / self._options.starts + self._options.hold))
            await self._each("paced", Case(streams, tokens, self._options.rate, self._options.starts))
        await self._each("burst", BURST)
        await self._each("fastest", FASTEST)

    async def _each(self, kind: str, case: Case) -> None:
        """The doors in turn; those of others no further than it was asked for."""
        few = case.streams <= self._options.peer_streams
        for door in [door for door in self._measure if few or door != "litellm"]:
            row = await self._one(door, case)
            self.result.setdefault(kind, {}).setdefault(door, []).append(row)
            print(line(kind, door, row), file=sys.stderr, flush=True)
            self._keep()

    async def _one(self, door: str, case: Case) -> dict[str, Any]:
        ask, used = self._measure[door]
        return await run(case, ask, used.cpu, used.rss) if used else await run(case, ask)

    def _keep(self) -> None:
        if self._options.json:
            self._options.json.parent.mkdir(parents=True, exist_ok=True)
            self._options.json.write_text(json.dumps(self.result, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chatapp-gateway-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's user has to reach its own folder in it
        yield folder


HEADER = (
    f"{'':8}{'door':10} streams  held   tok/s  first p50/p95 ms  added p50/p95/p99 ms  lost/doubled/errors"
    "  CPU ms per 1,000 tokens: steady, whole (web/worker/redis, postgresql)"
)


def line(kind: str, door: str, row: dict[str, Any]) -> str:
    wrong = f"{row['lost']}/{row['doubled']}/{sum(row['errors'].values())}"
    return (
        f"{kind:8}{door:10} {row['streams']:>7} {row['held']:>5} {row['tokens_per_second']:>7.0f}"
        f"  {row['first_token_p50_ms']:>7} /{row['first_token_p95_ms']:>7}"
        f"  {row['added_p50_ms']:>7}/{row['added_p95_ms']:>7}/{row['added_p99_ms']:>7}  {wrong:>12}"
        f"  {_cpu(row.get('steady_cpu_ms_per_1000_tokens'))}, {_cpu(row.get('cpu_ms_per_1000_tokens'))}"
    )


def _cpu(each: dict[str, float] | None) -> str:
    if not each:
        return "-"
    if "all" not in each:
        return "/".join(f"{value:.0f}" for value in each.values())
    parts = "/".join(f"{each[name]:.0f}" for name in ("web", "worker", "redis"))
    return f"{each['all']:.0f} ({parts}, {each['postgresql']:.0f})"


def show(result: dict[str, Any]) -> None:
    print(HEADER)
    for kind in KINDS:
        for door, rows in result.get(kind, {}).items():
            for row in rows:
                print(line(kind, door, row))
    if idle := result.get("idle"):
        print("idle: " + ", ".join(f"{name} {value}" for name, value in idle.items()))
    for error, count in _all_errors(result).items():
        print(f"{count} x {error}")
    print(f"Machine: {result['machine']}")


def _all_errors(result: dict[str, Any]) -> Counter[str]:
    rows = [row for kind in KINDS for found in result.get(kind, {}).values() for row in found]
    return sum((Counter(row["errors"]) for row in rows), Counter())


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _words(text)]


def _words(text: str) -> list[str]:
    return text.split(",")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--streams", type=_numbers, default=[50, 100, 200, 300, 400, 500], help="answers at once")
    parser.add_argument("--rate", type=int, default=20, help="tokens a second of each")
    parser.add_argument("--starts", type=float, default=15.0, help="answers begun a second")
    parser.add_argument("--hold", type=float, default=15.0, help="seconds that all of them are written side by side")
    parser.add_argument("--idle", type=int, default=0, help="open pages that say nothing")
    parser.add_argument("--doors", type=_words, default=DOORS, help="of " + ",".join(DOORS))
    parser.add_argument("--peers", type=_words, default=[], help="litellm")
    parser.add_argument("--peer-streams", type=int, default=200, help="most answers at once that peers are asked for")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if "litellm" in options.peers and not LITELLM.exists():
        parser.error("LiteLLM is not installed; python -m benchmarks.peers.install litellm")
    return options


def main() -> None:
    show(uvloop.run(Bench(parse()).measure()))


if __name__ == "__main__":
    main()
