"""A transformers model as its peers load it: in the precision in which this machine computes it faster."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from benchmarks.peers.base import Spec

TRIALS = 5


def load(spec: Spec) -> Any:
    """bfloat16 on an accelerator; on a CPU float32 or bfloat16, whichever a short trial shows to be faster."""
    torch.set_num_threads(spec.threads)
    chosen = spec.options.get("dtype")
    if spec.device != "cpu":
        return _load(spec, chosen or "bfloat16").to(spec.device)
    if chosen:
        return _load(spec, chosen)
    model = min((_load(spec, dtype) for dtype in ("bfloat16", "float32")), key=lambda one: _seconds(one, spec.streams))
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts anew: the trial is not the engine's
    return model


def facts_of(model: Any) -> dict[str, Any]:
    return {"weights": str(model.dtype).removeprefix("torch."), **device_memory()}


def device_memory() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {}
    return {"device": torch.cuda.get_device_name(), "device_peak_bytes": torch.cuda.max_memory_allocated()}


def _load(spec: Spec, dtype: str) -> Any:
    model = AutoModelForCausalLM.from_pretrained(
        spec.model,
        dtype=getattr(torch, dtype),
        attn_implementation="sdpa",
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    ).eval()
    model.generation_config = GenerationConfig()  # what is not set would come from here: ends of text, sampling
    return model


@torch.inference_mode()
def _seconds(model: Any, streams: int) -> float:
    """The fastest of a few forwards of one token for each stream."""
    ids, times = torch.full((streams, 1), 17), []
    for _ in range(TRIALS):
        began = time.perf_counter()
        model(input_ids=ids, use_cache=False)
        times.append(time.perf_counter() - began)
    return min(times)
