"""What the machine is, and what it allows."""

from __future__ import annotations

import platform
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks.gpu_session.findings import CannotRun, Figures, Findings, Setting, run_step

PACKAGES = ("torch", "transformers", "triton", "torchao", "numpy", "safetensors", "tokenizers")


def packages() -> Figures:
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def device(setting: Setting) -> Figures:
    if setting.rehearse:
        raise CannotRun("this is a rehearsal, on the CPU")
    found = torch.cuda.get_device_properties(0)
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "bytes": found.total_memory,
        "cores": found.multi_processor_count,
        "cuda": torch.version.cuda,
    }


def step(setting: Setting, findings: Findings) -> None:
    findings.attempt("packages", packages)
    findings.attempt("device", partial(device, setting))


if __name__ == "__main__":
    run_step(step)
