"""The project's engine, through its step API."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from benchmarks.loads import Ask
from benchmarks.peers.base import Event, Spec
from benchmarks.peers.torch_model import device_memory
from inference.engine import EngineConfig, LLMEngine, SamplingParams

PROMPT_COST, OUTPUT_COST = 1, 2


class Ours:
    def __init__(self, spec: Spec) -> None:
        sizes = {"num_threads": spec.threads, "max_num_seqs": spec.streams, "device": spec.device}
        config = EngineConfig(model=spec.model, **(sizes | spec.options))
        self.engine = LLMEngine(config)
        self.running: set[str] = set()
        self.served: defaultdict[str, float] = defaultdict(float)

    def add(self, ask: Ask, prompt: list[int]) -> None:
        params = SamplingParams(temperature=0.0, max_tokens=ask.max_tokens, ignore_eos=True)
        counter = self.served[ask.tenant]
        self.served[ask.tenant] += PROMPT_COST * len(prompt) + OUTPUT_COST * ask.max_tokens  # as the queue before it
        self.running.add(ask.name)
        self.engine.add_request(ask.name, prompt, params, tenant=ask.tenant, counter=counter)

    def step(self, patience: float) -> list[Event]:
        outputs, now = self.engine.step(), time.perf_counter()
        for output in outputs:
            if output.finish_reason == "error":
                raise RuntimeError(output.error)
        self.running -= {output.request_id for output in outputs if output.finish_reason}
        return [
            Event(
                output.request_id,
                list(output.token_ids),
                [now] * len(output.token_ids),
                output.finish_reason is not None,
                output.cached_tokens,
            )
            for output in outputs
        ]

    def abort(self) -> list[Event]:
        for name in self.running:
            self.engine.abort(name)
        self.running.clear()
        return []

    def facts(self) -> dict[str, Any]:
        backend, chosen = self.engine.runner.backend, self.engine.config.weights
        weights = chosen if chosen != "auto" else getattr(backend, "weights", str(backend.dtype).removeprefix("torch."))
        return {"weights": weights, "counters": self.engine.counters(), **device_memory()}

    def close(self) -> None:
        """Nothing else was started."""


def build(spec: Spec) -> Ours:
    return Ours(spec)
