"""``transformers`` continuous batching, through the manager behind ``generate_batch``."""

from __future__ import annotations

from typing import Any

from transformers import ContinuousBatchingConfig, GenerationConfig

from benchmarks.loads import Ask
from benchmarks.peers.base import Event, Spec
from benchmarks.peers.torch_model import facts_of, load

PAGE = 32  # tokens; prefixes are shared in whole pages only, and its default of 256 would share none here


class Continuous:
    """Answers come whole, with the time of each token: its stream copies the whole list for every token."""

    def __init__(self, spec: Spec) -> None:
        self.model = load(spec)
        pages = spec.streams * (-(-spec.longest // PAGE) + 1) * 3 // 2  # half as many again for prefixes
        size = (
            "page_size" if hasattr(ContinuousBatchingConfig, "page_size") else "block_size"
        )  # before transformers 5.18
        config = ContinuousBatchingConfig(**{size: PAGE}, num_blocks=pages)
        settings = GenerationConfig(do_sample=False, eos_token_id=-1, max_new_tokens=spec.longest)
        self.manager = self.model.init_continuous_batching(settings, config)
        self.manager.warmup()
        self.manager.start()
        self.rounds = 0
        self.running: set[str] = set()

    def add(self, ask: Ask, prompt: list[int]) -> None:
        self.running.add(ask.name)
        name = f"{self.rounds}:{ask.name}"
        self.manager.add_request(prompt, name, ask.max_tokens, record_timestamps=True, eos_token_id=-1)

    def step(self, patience: float) -> list[Event]:
        result = self.manager.get_result(timeout=max(0.01, patience))
        if result is None:
            if not self.manager.is_running():
                raise RuntimeError("the generation thread ended")
            return []
        if result.error:
            raise RuntimeError(result.error)
        number, name = result.request_id.split(":", 1)
        if int(number) != self.rounds:
            return []  # of a round that was given up
        self.running.discard(name)
        return [Event(name, list(result.generated_tokens), list(result.timestamps), True)]

    def abort(self) -> list[Event]:
        """A cancelled request has no terminal event here, so what it had is read from the scheduler."""
        active = list(self.manager.batch_processor.scheduler.active_requests.values())
        events = [
            Event(state.request_id.split(":", 1)[1], list(state.generated_tokens), list(state.timestamps or []), False)
            for state in active
        ]
        for name in self.running:
            self.manager.cancel_request(f"{self.rounds}:{name}")
        self.running.clear()
        self.rounds += 1
        return events

    def facts(self) -> dict[str, Any]:
        return facts_of(self.model) | {"page": PAGE}

    def close(self) -> None:
        self.manager.stop(block=True, timeout=10, hard_stop=True)


def build(spec: Spec) -> Continuous:
    return Continuous(spec)
