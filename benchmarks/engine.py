"""Our engine beside every other that is at hand: the same model, asks, threads and machine.

``python benchmarks/engine.py --model demo --concurrency 1,4,16 --peers all --json FILE``. Each engine runs in
a process of its own, which is stopped while another is asked; engines are asked in turns, ``--rounds`` times
each, after a round that is not counted. Only ratios of one run mean anything. ``--workload`` asks for
something else than equal streams at once. With ``--device cuda`` one engine runs after the other, and the
default is ``--workload decode``: fresh prompts for the prefill rate, then the same prompts, which engines that
keep them need not compute again, for the rate at which tokens come.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # as a script as well as with -m

from benchmarks import scenarios
from benchmarks.figures import Wave, summarise
from benchmarks.loads import WARM, Case, Lengths, decode, streams
from benchmarks.models import FOLDER, SHAPES, config_of, find_model
from benchmarks.peers.base import Spec
from benchmarks.peers.known import LLAMA_SERVER, VLLM_PYTHON, Known, known
from benchmarks.peers.process import ROOT, Peer, PeerFailed
from benchmarks.report import show
from benchmarks.roofline import Shape
from benchmarks.workload import machine

WORKLOADS = ("streams", "decode", "sharegpt", "multi-turn", "interference", "noisy-neighbour", "long-context")
LOGS = FOLDER / "logs"
CPU_DEFAULTS = {"workload": "streams", "concurrency": [1, 4, 16, 32], "shared_prefix": 200, "prompt": 40}
CUDA_DEFAULTS = {"workload": "decode", "concurrency": [1, 32, 256], "shared_prefix": 0, "prompt": 1024}


def main() -> None:
    options = parse_arguments()
    result = run(options)
    show(result)
    keep(result, options.json)


def keep(result: dict[str, Any], file: Path | None) -> None:
    """Called after every case too: a run that is cut short keeps what it has measured."""
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    numbers = lambda text: [float(part) if "." in part else int(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--model", default="demo", help=f"demo, {', '.join(SHAPES)} or a folder")
    parser.add_argument("--workload", choices=WORKLOADS)
    parser.add_argument("--concurrency", type=numbers, help="1,4,16,32; on a GPU 1,32,256")
    parser.add_argument("--rates", type=numbers, default=[1, 2, 4], help="chats per second (sharegpt)")
    parser.add_argument("--shared-prefix", type=int, help="200 tokens; on a GPU none")
    parser.add_argument("--prompt", type=int, help="40 tokens; on a GPU 1024")
    parser.add_argument("--output", type=int, default=128)
    parser.add_argument(
        "--peers", default="all", help="all, none or names: sequential,static,continuous,llama.cpp,vllm"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120, help="seconds of one wave; then it counts what had come")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--weights", help="our engine's option of this name")
    parser.add_argument("--options", type=json.loads, default={}, help="other options of our engine, as JSON")
    parser.add_argument("--slo-first-ms", type=float, default=2000)
    parser.add_argument("--slo-gap-ms", type=float, default=200)
    parser.add_argument("--quality", action="store_true", help="also compare with float32 (agreement, perplexity)")
    parser.add_argument("--llama-server", type=Path, default=LLAMA_SERVER)
    parser.add_argument("--vllm-python", type=Path, default=VLLM_PYTHON)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    for name, value in (CPU_DEFAULTS if options.device == "cpu" else CUDA_DEFAULTS).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.options |= {"weights": options.weights} if options.weights else {}
    return options


def run(options: argparse.Namespace) -> dict[str, Any]:
    folder = find_model(options.model, options.device)
    LOGS.mkdir(parents=True, exist_ok=True)
    before = machine()
    cases = build_cases(options, config_of(folder)["vocab_size"])
    peers = choose(options)
    result: dict[str, Any] = {
        "model": options.model,
        "workload": options.workload,
        "asked": {name: getattr(options, name) for name in ("shared_prefix", "prompt", "output", "device", "threads")},
        "compared_by": "steady_tokens_per_second" if options.workload == "decode" else "tokens_per_second",
        "machine": before | {"roofline": roofline(options)},
        "missing": {peer.name: peer.missing for peer in peers if peer.missing},
        "notes": {peer.name: peer.note for peer in peers},
        "failed": {},
        "engines": {},
        "cases": {case.label: {} for case in cases},
    }
    Benchmark(options, folder, cases, result).run([peer for peer in peers if not peer.missing])
    faster = {name: max(rate, result["machine"]["roofline"][name]) for name, rate in roofline(options).items()}
    result["machine"]["roofline"] = faster
    result["bounds"] = bounds(options, config_of(folder), faster, cases)
    if options.quality:
        result["quality"] = child("benchmarks.quality", options, str(folder), "--options", json.dumps(options.options))
    return result


def build_cases(options: argparse.Namespace, vocabulary: int) -> list[Case]:
    lengths = Lengths(options.shared_prefix, options.prompt, options.output, vocabulary)
    slo = (options.slo_first_ms, options.slo_gap_ms)
    return {
        "streams": lambda: [streams(lengths, count) for count in options.concurrency],
        "decode": lambda: [decode(lengths, count) for count in options.concurrency],
        "sharegpt": lambda: [scenarios.sharegpt(lengths, rate, 60, *slo) for rate in options.rates],
        "multi-turn": lambda: [scenarios.multi_turn(lengths, 8, 4)],
        "interference": lambda: scenarios.interference(lengths),
        "noisy-neighbour": lambda: [scenarios.noisy_neighbour(lengths, 16)],
        "long-context": lambda: [scenarios.long_context(lengths, tokens) for tokens in scenarios.LONG_CONTEXTS],
    }[options.workload]()


def bounds(
    options: argparse.Namespace, config: dict[str, Any], machine: dict[str, float], cases: list[Case]
) -> dict[str, dict[str, float]]:
    """Tokens per second of even streams at most, with the keys and values half-way through the answers."""
    shared = options.shared_prefix if options.workload == "streams" else 0
    context = options.shared_prefix + options.prompt + options.output // 2
    even = [case for case in cases if case.even and options.workload in ("streams", "decode")]
    return {case.label: Shape.of(config).bounds(machine, case.streams, context, shared) for case in even}


def choose(options: argparse.Namespace) -> list[Known]:
    """Ours, and of the others those that were named and can run on the device."""
    every = known(options.options, options.llama_server, options.vllm_python)
    named = [] if options.peers == "none" else options.peers.split(",")
    return [
        peer
        for peer in every
        if peer.name == "ours" or ("all" in named or any(peer.name.startswith(name) for name in named))
        if peer.cuda or options.device == "cpu"
    ]


def roofline(options: argparse.Namespace) -> dict[str, float]:
    """Measured before and after, and the faster taken: a machine that others use too may be slow at one of them."""
    return child("benchmarks.roofline", options, "--device", options.device)


def child(module: str, options: argparse.Namespace, *arguments: str) -> dict[str, Any]:
    """Figures of a module that measures in a process of its own, so that nothing of it stays in memory."""
    command = [sys.executable, "-m", module, "--threads", str(options.threads), *arguments]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    return figures


class Benchmark:
    """Asks the engines in turns and puts their figures into ``result``."""

    def __init__(self, options: argparse.Namespace, folder: Path, cases: list[Case], result: dict[str, Any]) -> None:
        self.options, self.folder, self.cases, self.result = options, folder, cases, result
        self.running: dict[str, Peer] = {}

    def run(self, peers: list[Known]) -> None:
        """All engines at once share a CPU's memory well; on a GPU each wants the memory for itself."""
        for group in [peers] if self.options.device == "cpu" else [[peer] for peer in peers]:
            try:
                self._start(group)
                for case in self.cases:
                    self._measure(case, [peer for peer in group if peer.name in self.running and peer.fits(case)])
                    keep(self.result, self.options.json)
            finally:
                self._stop()

    def _start(self, peers: list[Known]) -> None:
        for peer in peers:
            cases = [case for case in self.cases if peer.fits(case)]
            if cases:
                with self._failing(peer, "start"):
                    self.running[peer.name] = self._launch(peer, cases)

    def _launch(self, peer: Known, cases: list[Case]) -> Peer:
        tell(f"starting {peer.name}")
        spec = Spec(
            model=str(self.folder),
            device=self.options.device,
            threads=self.options.threads,
            streams=int(max(case.streams for case in cases)),
            longest=max(case.longest for case in cases),
            prefix=cases[0].prefix,
            options=with_gguf(peer.options, self.folder),
        )
        return Peer(peer.engine, spec, peer.python, LOGS / f"{peer.name}.log", env=peer.env)

    def _measure(self, case: Case, peers: list[Known]) -> None:
        rounds: dict[str, list[list[Wave]]] = {peer.name: [] for peer in peers}
        for number in (WARM, *range(self.options.rounds)):
            for peer in peers:
                if peer.name in self.running:
                    tell(f"{case.label}, round {number + 1} of {self.options.rounds}: {peer.name}")
                    with self._failing(peer, case.label):
                        rounds[peer.name].append(self.running[peer.name].play(case.waves(number), self.options.limit))
        for name, (_, *counted) in ((name, waves) for name, waves in rounds.items() if len(waves) > 1):
            self.result["cases"][case.label][name] = summarise(counted) | case.more(counted)

    @contextmanager
    def _failing(self, peer: Known, doing: str) -> Iterator[None]:
        """An engine that fails is out; the others go on. Ours may not fail."""
        try:
            yield
        except PeerFailed as failure:
            if peer.name == "ours":
                raise
            tell(f"{peer.name} failed: {failure}")
            self.result["failed"][peer.name] = f"{doing}: {failure}"
            self.running.pop(peer.name, None)

    def _stop(self) -> None:
        for name, peer in self.running.items():
            self.result["engines"][name] = {"peak_bytes": peer.peak_bytes(), **peer.facts}
            peer.close()
        self.running.clear()


def with_gguf(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """For llama.cpp, the model as a file of the wanted kind, written when first asked for."""
    if "kind" not in options:
        return options
    file = FOLDER / f"{folder.parent.name if folder.name == 'model' else folder.name}.{options['kind']}.gguf"
    if not file.exists():
        from benchmarks.peers.gguf_file import write

        write(folder, file, options["kind"])
    return {**options, "gguf": str(file)}


def tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
