"""What both sides of ``benchmarks.stack`` are asked, and how figures are put together."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from typing import Any

QUESTION = "Tell me a long story about a fox"
SYSTEM = "You are a helpful assistant in chatapp."


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Medians over runs of tokens per second, and percentiles over all first tokens in milliseconds."""
    first = [value for run in runs for value in run["first_token_ms"]]
    return {
        "tokens_per_second": round(statistics.median(run["tokens"] / run["seconds"] for run in runs), 1),
        "first_token_p50_ms": round(percentile(first, 0.5), 1),
        "first_token_p95_ms": round(percentile(first, 0.95), 1),
        "tokens": sum(run["tokens"] for run in runs),
        "runs": len(runs),
    }


def machine() -> dict[str, Any]:
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    load = [round(value, 2) for value in os.getloadavg()]
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "load_before": load}
