"""Our engine and llama.cpp beside other programs that want the processors.

``python -m benchmarks.neighbours --json benchmarks/results/neighbours.json``: the same prompts at 1 and 16 streams, on
a quiet machine, beside 1, 2 and 4 hogs (processes that compute without end, pinned nowhere), and beside a browser that
draws. In every round all engines are asked beside each neighbour in turn, so that the machine's moods meet all
alike; an engine is stopped while another is asked. ``--before FOLDER`` adds the engine of another checkout.
What an answer has after ``--limit`` seconds counts as it is.

Of quiet: tokens per second over those of the same engine without neighbours in the same run. Of fair: that, over what
a scheduler leaves that gives every thread that wants to run the same: with T threads of the engine and H of neighbours
on C cores, (T / (T + H)) min(C, T + H) / min(C, T), so 0.67, 0.5 and 0.33 for two threads on two cores beside
one, two and four hogs. A browser is counted as as many as it uses: its processor time, measured beside nothing else.
Engines and hogs are in sessions of their own, as programs are that people start.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.engine import LOGS, keep, tell, with_gguf
from benchmarks.figures import rate
from benchmarks.hogs import SETTLE, Neighbour, all_neighbours, autogroup, processors
from benchmarks.loads import FIRST_ORDINARY, Ask
from benchmarks.models import config_of, find_model
from benchmarks.peers.base import Spec
from benchmarks.peers.known import AS_WORKER, LLAMA_SERVER
from benchmarks.peers.process import Peer
from benchmarks.workload import machine

PROMPT = 24  # tokens
COLUMNS = {
    "neighbour": 12,
    "engine": 12,
    "tokens_per_second": 19,
    "of_quiet": 10,
    "fair": 6,
    "of_fair": 9,
    "of_llama.cpp": 14,
}


def main() -> None:
    options = parse_arguments()
    result = run(options)
    show(result)
    keep(result, options.json)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--model", default="smollm2-135m-shape", help="a name of benchmarks.models, a folder or a .gguf"
    )
    parser.add_argument("--gguf", type=Path, help="for llama.cpp; default: the model's weights as q8_0")
    parser.add_argument("--streams", type=numbers, default=[1, 16])
    parser.add_argument("--hogs", type=numbers, default=[1, 2, 4])
    parser.add_argument("--output", type=int, default=96, help="tokens of an answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=5, help="seconds")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--before", type=Path, help="another checkout of this project")
    parser.add_argument("--llama-server", type=Path, default=LLAMA_SERVER)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def run(options: argparse.Namespace) -> dict[str, Any]:
    model = Path(options.model) if options.model.endswith(".gguf") else find_model(options.model)
    asks = {
        streams: [waves(options, streams, round_, model) for round_ in range(-1, options.rounds)]
        for streams in options.streams
    }
    neighbours, browser = all_neighbours(options.hogs)
    result: dict[str, Any] = {
        "model": options.model,
        "asked": {"prompt": PROMPT, "output": options.output, "threads": options.threads, "limit": options.limit},
        "machine": machine() | {"autogroup": autogroup()},
        "browser": {"what": browser, "processors": processors(neighbours["browser"])},
        "rates": {},
    }
    with ExitStack() as stack:
        peers = {name: stack.enter_context(one) for name, one in engines(options, model)}
        for streams, rounds in asks.items():
            rates: dict[str, dict[str, list[float]]] = {name: {peer: [] for peer in peers} for name in neighbours}
            result["rates"][str(streams)] = rates
            for number, wave in enumerate(rounds):
                measure(options, peers, neighbours if number else {"quiet": nullcontext}, wave, rates, number)
            keep(result, options.json)
    return result


def measure(
    options: argparse.Namespace,
    peers: dict[str, Peer],
    neighbours: dict[str, Neighbour],
    wave: list[Ask],
    rates: dict[str, dict[str, list[float]]],
    number: int,
) -> None:
    """One round; number 0 warms the engines up and is not counted."""
    for name, start in neighbours.items():
        with start():
            time.sleep(SETTLE)
            for peer, process in peers.items():
                tell(f"{len(wave)} streams, {name}, round {number} of {options.rounds}: {peer}")
                (answers,) = process.play([wave], options.limit)
                if number:
                    rates[name][peer].append(round(rate([answers]), 2))


def waves(options: argparse.Namespace, streams: int, number: int, model: Path) -> list[Ask]:
    rng = random.Random(f"neighbours {streams} {number}")
    highest = vocabulary(model)
    prompts = [[rng.randrange(FIRST_ORDINARY, highest) for _ in range(PROMPT)] for _ in range(streams)]
    return [Ask(str(place), prompt, options.output) for place, prompt in enumerate(prompts)]


def vocabulary(model: Path) -> int:
    if model.suffix != ".gguf":
        return int(config_of(model)["vocab_size"])
    import gguf

    return len(gguf.GGUFReader(model).fields["tokenizer.ggml.tokens"].data)


def engines(options: argparse.Namespace, model: Path) -> Iterator[tuple[str, AbstractContextManager[Peer]]]:
    spec = partial(
        Spec,
        model=str(model.resolve()),
        device="cpu",
        threads=options.threads,
        streams=max(options.streams),
        longest=PROMPT + options.output,
    )
    yield "ours", peer("ours", "ours", spec(), env=AS_WORKER)
    if options.before:
        yield "before", peer("before", "ours", spec(), root=options.before.resolve())
    if not options.llama_server.exists():
        return tell("llama.cpp is not built: python -m benchmarks.peers.install llama.cpp")
    file = options.gguf or (model if model.suffix == ".gguf" else None)
    found = {"kind": file.stem, "gguf": str(file)} if file else with_gguf({"kind": "q8_0"}, model)
    yield "llama.cpp", peer("llama.cpp", "llama_server", spec(options={"server": str(options.llama_server)} | found))


@contextmanager
def peer(name: str, engine: str, spec: Spec, **more: Any) -> Iterator[Peer]:
    tell(f"starting {name}")
    LOGS.mkdir(parents=True, exist_ok=True)
    process = Peer(engine, spec, sys.executable, LOGS / f"neighbours-{name}.log", **more)
    try:
        yield process
    finally:
        process.close()


def fair(threads: int, others: float, cores: int) -> float:
    """The share of its quiet speed that an engine may expect; see above."""
    return threads / (threads + others) * min(cores, threads + others) / min(cores, threads)


def show(result: dict[str, Any]) -> None:
    """And puts the figures of the table into ``result``."""
    result["table"] = [row for streams in result["rates"] for row in rows(result, streams)]
    print(f"\n{result['model']}; the browser: {result['browser']}")
    for streams in result["rates"]:
        print(f"\n{streams} streams\n" + "".join(f"{name:>{width}}" for name, width in COLUMNS.items()))
        for row in result["table"]:
            if row["streams"] == int(streams):
                print("".join(f"{row[name]:>{width}}" for name, width in COLUMNS.items()))


def rows(result: dict[str, Any], streams: str) -> Iterator[dict[str, Any]]:
    cores, threads = result["machine"]["cores"], result["asked"]["threads"]
    medians = {
        name: {engine: statistics.median(counted) for engine, counted in engines.items()}
        for name, engines in result["rates"][streams].items()
    }
    for name, engines in medians.items():
        share = fair(threads, threads_of(name, result["browser"]["processors"]), cores)
        for engine, tokens in engines.items():
            of_quiet = tokens / medians["quiet"][engine]
            yield {
                "streams": int(streams),
                "neighbour": name,
                "engine": engine,
                "tokens_per_second": round(tokens, 1),
                "of_quiet": round(of_quiet, 2),
                "fair": round(share, 2),
                "of_fair": round(of_quiet / share, 2),
                "of_llama.cpp": round(tokens / engines["llama.cpp"], 2) if engines.get("llama.cpp") else "",
            }


def threads_of(neighbour: str, browser: float) -> float:
    """That want to run."""
    if neighbour in ("quiet", "browser"):
        return browser if neighbour == "browser" else 0.0
    return float(neighbour.split(maxsplit=1)[0])


if __name__ == "__main__":
    main()
