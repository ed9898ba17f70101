"""``transformers`` ``generate``: whatever waits is one static batch, or one by one as ``sequential``."""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig
from transformers.generation.streamers import BaseStreamer

from benchmarks.loads import Ask
from benchmarks.peers.base import Event, Spec
from benchmarks.peers.torch_model import facts_of, load


class _Clock(BaseStreamer):
    """Notes when ``generate`` hands over each step's tokens; its first call hands over the prompt."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        if self.prompt_seen:
            self.at.append(time.perf_counter())
        self.prompt_seen = True

    def end(self) -> None:
        """Nothing is held back."""


class Generate:
    """Prompts that begin with the shared prefix get a copy of its cache, as transformers' documentation shows."""

    def __init__(self, spec: Spec) -> None:
        self.model = load(spec)
        self.most = 1 if spec.options.get("sequential") else spec.streams
        self.prefix = spec.prefix
        self.kept = self._prefill(spec.prefix) if spec.prefix else None
        self.waiting: list[tuple[Ask, list[int]]] = []

    def add(self, ask: Ask, prompt: list[int]) -> None:
        self.waiting.append((ask, prompt))

    def step(self, patience: float) -> list[Event]:
        batch, self.waiting = self.waiting[: self.most], self.waiting[self.most :]
        longest = max(len(prompt) for _, prompt in batch)
        rows = [[0] * (longest - len(prompt)) + prompt for _, prompt in batch]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for _, prompt in batch]
        clock = _Clock()
        output = self._generate(rows, mask, max(ask.max_tokens for ask, _ in batch), patience, clock)
        return [self._event(ask, output[row, longest:].tolist(), clock.at) for row, (ask, _) in enumerate(batch)]

    def abort(self) -> list[Event]:
        self.waiting.clear()
        return []

    def facts(self) -> dict[str, Any]:
        return facts_of(self.model) | {"keeps_prefix": self.kept is not None}

    def close(self) -> None:
        """Nothing else was started."""

    @torch.inference_mode()
    def _prefill(self, prefix: list[int]) -> DynamicCache:
        cache = DynamicCache(config=self.model.config)
        self.model(input_ids=torch.tensor([prefix], device=self.model.device), past_key_values=cache, use_cache=True)
        return cache

    def _cache(self, rows: list[list[int]], mask: list[list[int]]) -> DynamicCache | None:
        if self.kept is None or any(row[: len(self.prefix)] != self.prefix for row in rows) or not all(map(all, mask)):
            return None
        cache = copy.deepcopy(self.kept)
        cache.batch_repeat_interleave(len(rows))
        return cache

    def _generate(
        self, rows: list[list[int]], mask: list[list[int]], new: int, patience: float, clock: _Clock
    ) -> torch.Tensor:
        settings = GenerationConfig(
            do_sample=False, max_new_tokens=new, eos_token_id=None, pad_token_id=0, max_time=max(0.1, patience)
        )
        return self.model.generate(
            input_ids=torch.tensor(rows, device=self.model.device),
            attention_mask=torch.tensor(mask, device=self.model.device),
            past_key_values=self._cache(rows, mask),
            generation_config=settings,
            streamer=clock,
        )

    def _event(self, ask: Ask, token_ids: list[int], at: list[float]) -> Event:
        return Event(ask.name, token_ids[: ask.max_tokens], at[: ask.max_tokens], len(token_ids) >= ask.max_tokens)


def build(spec: Spec) -> Generate:
    return Generate(spec)
