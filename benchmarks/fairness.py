"""Noisy neighbours: does a flood slow others down, does everyone get their share, are waits as they were told?

``python -m benchmarks.fairness --json FILE``. Everything but the worker is the product's own: queue, admission's
estimates and the transport. First with a simulated worker on a clock of its own, seconds for an hour; then
(``--real``) with the demo model in a process of its own. Stops by itself.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.crowd import Crowd, Question, Tenant, jain, within_factor_two
from benchmarks.simulation import simulate
from benchmarks.workload import machine, percentile
from inference.messages import ChatMessage, Job, Sampling
from inference.transport import MemoryTransport, serve_local

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = (1.0, 4.0, 16.0)  # the plans
WARM = 100.0  # seconds left out at the beginning
SEEDS = range(1, 4)
QUESTIONS = (
    "What is the capital of Portugal?",
    "Tell me a long story about a fox",
    "Count from 1 to 50",
    "Write a hello world program in Python",
    "How do I change the theme?",
)


def polite(number: int = 10, *, at_once: int = 6) -> list[Tenant]:
    return [Tenant(f"polite{n}", WEIGHTS[n % 3], at_once=at_once, pause=5.0) for n in range(number)]


def neighbour(at_once: int) -> dict[str, float]:
    """The polite tenants' waits without and with one that keeps 64 questions in line; all seeds together."""
    everyone = polite(at_once=at_once)
    calm = _waits([simulate(everyone, 900, seed=seed).begun(WARM) for seed in SEEDS])
    runs = [simulate([*everyone, Tenant("flood", 1.0, at_once=64)], 900, seed=seed) for seed in SEEDS]
    return _compare(calm, _waits([crowd.begun(WARM, everyone) for crowd in runs]))


def _compare(calm: Sequence[float], flooded: Sequence[float]) -> dict[str, float]:
    p95 = percentile(calm, 0.95), percentile(flooded, 0.95)
    return {
        "questions_calm": len(calm),
        "questions_flooded": len(flooded),
        "p50_wait_calm_s": round(percentile(calm, 0.5), 2),
        "p50_wait_flooded_s": round(percentile(flooded, 0.5), 2),
        "p95_wait_calm_s": round(p95[0], 2),
        "p95_wait_flooded_s": round(p95[1], 2),
        "p99_wait_calm_s": round(percentile(calm, 0.99), 2),
        "p99_wait_flooded_s": round(percentile(flooded, 0.99), 2),
        "p95_ratio": round(p95[1] / p95[0], 3),
    }


def shares() -> dict[str, float]:
    """Everyone has questions in line all the time; one comes back after half of it."""
    backlogged = [Tenant(f"t{n}", WEIGHTS[n % 3], at_once=40) for n in range(9)]
    back = Tenant("returning", 4.0, at_once=40, begins=1500)
    crowd = simulate([*backlogged, back], 3000)
    before = [_service(crowd, tenant, WARM, 1500) for tenant in backlogged]
    after = [_service(crowd, tenant, 1600, 3000) for tenant in backlogged]
    return {
        "jain": round(jain(before), 4),
        "jain_with_returning": round(jain([*after, _service(crowd, back, 1600, 3000)]), 4),
        "returning_share": round(_service(crowd, back, 1500, 3000) / (sum(after) / len(after) * 1500 / 1400), 3),
    }


def simulated_waits() -> dict[str, float]:
    """The share of waits told within a factor of two, for several crowds."""
    crowds = {
        "burst": [
            Tenant("before", 1.0, at_once=24, ends=WARM),
            *(Tenant(f"b{n}", WEIGHTS[n % 3], at_once=4, pause=1e9, begins=WARM + 40) for n in range(15)),
        ],
        "steady_long_line": polite(),
        "steady_short_line": polite(at_once=3),
        "one_plan": [Tenant(f"o{n}", 1.0, at_once=3, pause=5.0) for n in range(10)],
    }
    return {name: round(within_factor_two(simulate(crowd, 900).begun(WARM)), 3) for name, crowd in crowds.items()}


def _waits(runs: Sequence[Sequence[Question]]) -> list[float]:
    return [question.wait for questions in runs for question in questions]


def _service(crowd: Crowd, tenant: Tenant, begins: float, ends: float) -> float:
    """What the tenant was given between two times, as the queue counts it, by its weight."""
    asked = (question for question in crowd.asked.values() if question.tenant is tenant)
    done = [question for question in asked if question.ended is not None and begins <= question.ended < ends]
    return sum(question.prompt_tokens + 2 * question.output_tokens for question in done) / tenant.weight


# With the demo model


class RealWorker:
    """The demo model behind ``transport``, in a process of its own, until ``stop``."""

    def __init__(self, transport: MemoryTransport, folder: Path, slots: int) -> None:
        key = b"benchmark"
        serve_local(folder / "s", key, transport, lambda group, message: None)
        model = ROOT / "inference" / "demo" / "model"
        options = ["--socket", folder / "s", "--name", "w", "--model", "demo", "--path", model]
        options += ["--slots", slots, "--grace", 0]
        command = [sys.executable, "-m", "inference.worker", *map(str, options)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={"CHATAPP_TRANSPORT_KEY": key.hex(), "PATH": "/usr/bin"}
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


def make_real_job(name: str, tenant: Tenant, now: float, chance: random.Random) -> Job:
    message = ChatMessage("user", chance.choice(QUESTIONS))
    return Job(name, tenant.name, "demo", (message,), Sampling(512), 40, weight=tenant.weight, submitted_at=now)


def run_real(tenants: Sequence[Tenant], seconds: float, slots: int, seed: int = 1) -> Crowd:
    """Let ``tenants`` ask the demo model, their times counted from when it is ready."""
    transport, chance = MemoryTransport(), random.Random(seed)
    worker = RealWorker(transport, Path(tempfile.mkdtemp(prefix="chatapp-fairness-")), slots)
    while not any(report.state == "ready" for report in transport.stats().workers):
        time.sleep(0.1)
    began = time.time()
    crowd = Crowd(transport, tenants, lambda name, tenant, now: make_real_job(name, tenant, now, chance), seed=seed)
    while (now := time.time() - began) < seconds:
        crowd.tick(now)
        time.sleep(0.01)
    worker.stop()
    return crowd


def real(slots: int) -> dict[str, Any]:
    warm = Tenant("before", 1.0, at_once=2 * slots, ends=8.0)
    burst = [Tenant(f"b{n}", WEIGHTS[n % 3], at_once=4, pause=1e9, begins=12.0) for n in range(10)]
    crowd = run_real([warm, *burst], 40.0, slots)
    questions = crowd.begun(11.0)
    everyone = [Tenant(f"polite{n}", WEIGHTS[n % 3], at_once=1, pause=0.2) for n in range(3 * slots)]
    calm = _waits([run_real(everyone, 40.0, slots).begun(5.0)])
    flooded = run_real([*everyone, Tenant("flood", 1.0, at_once=16 * slots)], 40.0, slots).begun(5.0, everyone)
    return {
        "burst_jobs": len(questions),
        "burst_within_factor_two": round(within_factor_two(questions), 3),
        "burst_longest_wait_s": round(max(question.wait for question in questions), 2),
        "neighbour": _compare(calm, _waits([flooded])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--real", action="store_true", help="with the demo model, too: two minutes more")
    parser.add_argument("--slots", type=int, default=4, help="answers at once of the demo model")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "shares": shares()}
    result["neighbour"] = {"busy": neighbour(at_once=6), "nearly_full": neighbour(at_once=2)}
    result["waits_within_factor_two"] = simulated_waits()
    if options.real:
        result["real"] = real(options.slots)
    text = json.dumps(result, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
