"""What transformers' ``generate`` makes of the streams of ``speed``, each number as one static batch."""

from __future__ import annotations

from benchmarks.gpu_session.findings import Findings, Setting, run_step
from benchmarks.gpu_session.speed import measure


def step(setting: Setting, findings: Findings) -> None:
    measure(setting, findings, "generate")


if __name__ == "__main__":
    run_step(step)
