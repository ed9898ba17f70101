"""Which model the embedded engine runs, and how much of the machine it takes. From the environment."""

from __future__ import annotations

from dataclasses import dataclass

from chatapp.settings.environment import env
from inference.demo import MODEL_PATH

DEMO = "demo"
WEIGHTS = ("auto", "float32", "bfloat16", "float16", "int8", "fp8", "int4")  # as the engine's own list
DEMO_THREADS = 1  # its matrices are too small to gain from a second core, which the pages can use


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """``model`` is ``demo``, a local folder or a hub name. ``threads`` 0 leaves torch its own choice."""

    model: str
    slots: int
    kv_megabytes: int
    threads: int
    device: str
    weights: str

    @classmethod
    def from_environment(cls, model: str = "") -> EngineOptions:
        return cls(
            model=model or env.text("CHATAPP_MODEL", DEMO),
            slots=env.integer("CHATAPP_SLOTS", 16, low=1, high=1024),
            kv_megabytes=env.integer("CHATAPP_KV_MB", 0, low=0, high=10_000_000),
            threads=env.integer("CHATAPP_TORCH_THREADS", 0, low=0, high=1024),
            device=env.text("CHATAPP_DEVICE", "auto"),
            weights=env.choice("CHATAPP_WEIGHTS", WEIGHTS, "auto"),
        )

    @property
    def demo(self) -> bool:
        return self.model == DEMO

    @property
    def label(self) -> str:
        return "the bundled demo model; MODEL=Qwen/Qwen3-0.6B sets a real one" if self.demo else self.model

    def arguments(self) -> list[str]:
        """For ``python -m inference.worker``."""
        threads = self.threads or (DEMO_THREADS if self.demo else 0)
        path = str(MODEL_PATH) if self.demo else self.model
        arguments = ["--model", self.model, "--path", path, "--device", self.device, "--slots", str(self.slots)]
        arguments += ["--kv-megabytes", str(self.kv_megabytes), "--threads", str(threads)]
        arguments += ["--weights", self.weights]
        return [*arguments, "--demo"] if self.demo else arguments
