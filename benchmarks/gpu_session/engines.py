"""Engines on the CUDA operations, also where Triton's interpreter stands for the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gpu_session.findings import Setting
from inference.engine import EngineConfig, LLMEngine, SamplingParams, model_runner
from inference.engine.cuda.backend import CudaOps

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 600,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


def cuda_engine(setting: Setting, folder: Path, **options: Any) -> LLMEngine:
    sizes = {"num_kv_blocks": 512, "max_num_seqs": 8, "weights": "float32", "overlap": True} | options
    config = EngineConfig(model=str(folder), device=setting.device.type, **sizes)
    with _interpreted(setting):
        return LLMEngine(config)


@contextmanager
def _interpreted(setting: Setting) -> Iterator[None]:
    """Without a device the engine would choose other operations."""
    chosen = model_runner.choose_ops

    def choose(config: EngineConfig, path: Path) -> CudaOps:
        return CudaOps(config, setting.device, model_runner._dtype(config, setting.device, path))

    model_runner.choose_ops = choose if setting.rehearse else chosen
    try:
        yield
    finally:
        model_runner.choose_ops = chosen


def answers(engine: LLMEngine, prompts: list[list[int]], tokens: int) -> list[list[int]]:
    """Greedy answers to all at once. Raises ``RuntimeError`` for one that failed."""
    params = SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True)
    found: dict[str, list[int]] = {str(number): [] for number in range(len(prompts))}
    for name, prompt in zip(found, prompts, strict=True):
        engine.add_request(name, prompt, params)
    while engine.has_unfinished:
        for output in engine.step():
            if output.finish_reason == "error":
                raise RuntimeError(output.error)
            found[output.request_id] += output.token_ids
    return list(found.values())
