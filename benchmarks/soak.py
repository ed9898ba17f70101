"""Does the engine give everything back? Answers are asked for, alone or several to a prompt, aborted and
preempted at random for a long time.

``python -m benchmarks.soak --minutes 30 --json benchmarks/results/soak.json``: rounds of a few seconds on a KV
cache that is too small on purpose. After each round nobody writes any more, and blocks, threads and memory
must be where they were after the first. Exits with 1 when they are not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from inference.demo import MODEL_PATH
from inference.engine import EngineConfig, LLMEngine, SamplingParams

ROUND_SECONDS = 5.0
MEMORY_SLACK = 48 << 20  # bytes; an allocator keeps some of what it was given
TENANTS, LONGEST_PROMPT, LONGEST_ANSWER = 3, 200, 60


@dataclass
class Tally:
    """What happened to how many answers, and what was left after each round."""

    rounds: int = 0
    requests: int = 0
    asked: int = 0
    ended: int = 0
    aborted: int = 0
    preemptions: int = 0
    failed_steps: int = 0
    blocks_left: int = 0
    threads: list[int] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)

    @property
    def leaks(self) -> list[str]:
        """What did not come back, in words. The first round is the measure, since it warms everything up."""
        found = [
            ("blocks", self.blocks_left > 0),
            ("answers", self.ended + self.aborted != self.asked),
            ("threads", self.threads[-1] > self.threads[0]),
            ("memory", self.rss_bytes[-1] > self.rss_bytes[0] + MEMORY_SLACK),
        ]
        return [name for name, leaks in found if leaks]


def soak(engine: LLMEngine, seconds: float, seed: int = 0, round_seconds: float = ROUND_SECONDS) -> Tally:
    """Rounds until ``seconds`` are over, at least two."""
    tally, rng, until = Tally(), random.Random(seed), time.monotonic() + seconds
    while tally.rounds < 2 or time.monotonic() < until:
        _round(engine, rng, tally, time.monotonic() + round_seconds)
    counters = engine.counters()
    tally.preemptions, tally.failed_steps = int(counters["preemptions"]), int(counters["failed_steps"])
    return tally


def _round(engine: LLMEngine, rng: random.Random, tally: Tally, until: float) -> None:
    running: dict[str, int] = {}  # the answers still being written
    while time.monotonic() < until or engine.has_unfinished:
        if time.monotonic() < until and len(running) < 3 * engine.config.max_num_seqs and rng.random() < 0.5:
            tally.requests += 1
            name = str(tally.requests)
            running[name] = _ask(engine, rng, name)
            tally.asked += running[name]
        if running and rng.random() < 0.05:
            name = rng.choice(sorted(running))
            engine.abort(name)
            tally.aborted += running.pop(name)
        for output in engine.step():
            if output.finish_reason is not None:
                tally.ended += 1
                running[output.request_id] -= 1
                if not running[output.request_id]:
                    del running[output.request_id]
    tally.rounds += 1
    tally.blocks_left += int(engine.counters()["kv_blocks_used"])
    tally.threads.append(threading.active_count())
    tally.rss_bytes.append(resident_bytes())


def _ask(engine: LLMEngine, rng: random.Random, name: str) -> int:
    """A request of a random tenant, band, length and way of drawing; half begin alike. Returns its answers."""
    common = random.Random(rng.randrange(4)) if rng.random() < 0.5 else rng
    most = min(LONGEST_PROMPT, engine.context_length // 2)
    prompt = [common.randrange(engine.runner.vocab_size) for _ in range(rng.randint(1, most))]
    params = SamplingParams(
        max_tokens=rng.randint(1, LONGEST_ANSWER),
        temperature=rng.choice((0.0, 0.7, 1.0)),
        top_p=rng.choice((1.0, 0.9)),
        top_k=rng.choice((0, 20)),
        seed=rng.choice((None, 7)),
        n=rng.choice((1, 1, 1, 4)),
        ignore_eos=True,
    )
    tenant, band = str(rng.randrange(TENANTS)), int(rng.random() < 0.3)
    engine.add_request(name, prompt, params, tenant=tenant, band=band, counter=rng.random())
    return params.n


def resident_bytes() -> int:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--model", default=str(MODEL_PATH))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    engine = LLMEngine(EngineConfig(model=options.model, device=options.device, num_kv_blocks=96, max_num_seqs=16))
    tally = soak(engine, options.minutes * 60, options.seed)
    result = asdict(tally) | {"minutes": options.minutes, "model": os.path.relpath(options.model), "leaks": tally.leaks}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result | {"threads": tally.threads[-1], "rss_bytes": [tally.rss_bytes[0], tally.rss_bytes[-1]]}))
    return 1 if tally.leaks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
