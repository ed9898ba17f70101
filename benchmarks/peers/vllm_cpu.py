"""vLLM on the CPU, in this process, through its step API."""

from __future__ import annotations

import os
import time
from typing import Any

from benchmarks.loads import Ask
from benchmarks.peers.base import Event, Spec

KV_GIB = 2


class Vllm:
    def __init__(self, spec: Spec) -> None:
        os.environ |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": str(KV_GIB),
            "VLLM_CPU_OMP_THREADS_BIND": f"0-{spec.threads - 1}" if spec.threads > 1 else "0",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        from vllm import EngineArgs, LLMEngine

        arguments = EngineArgs(
            model=spec.model, dtype="bfloat16", max_model_len=spec.longest + 1, max_num_seqs=spec.streams
        )
        self.engine = LLMEngine.from_engine_args(arguments)
        self.written: dict[str, int] = {}

    def add(self, ask: Ask, prompt: list[int]) -> None:
        from vllm import SamplingParams

        params = SamplingParams(temperature=0.0, max_tokens=ask.max_tokens, ignore_eos=True)
        self.written[ask.name] = 0
        self.engine.add_request(ask.name, {"prompt_token_ids": prompt}, params)

    def step(self, patience: float) -> list[Event]:
        outputs, now = self.engine.step(), time.perf_counter()
        return [self._event(output, now) for output in outputs]

    def abort(self) -> list[Event]:
        self.engine.abort_request(list(self.written))
        self.written.clear()
        return []

    def facts(self) -> dict[str, Any]:
        import vllm

        return {"weights": "bfloat16", "version": vllm.__version__}

    def close(self) -> None:
        """Nothing else was started."""

    def _event(self, output: Any, now: float) -> Event:
        name = output.request_id
        token_ids = list(output.outputs[0].token_ids)[self.written[name] :]
        self.written[name] += len(token_ids)
        if output.finished:
            del self.written[name]
        return Event(name, token_ids, [now] * len(token_ids), output.finished, output.num_cached_tokens)


def build(spec: Spec) -> Vllm:
    return Vllm(spec)
