"""The engine's greedy answers against those of transformers' ``generate``, on the same device in the same type."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from benchmarks.gpu_session.engines import LLAMA, answers, cuda_engine
from benchmarks.gpu_session.findings import CannotRun, Figures, Findings, Setting, run_step
from benchmarks.models import SMOLLM2_135M

NEAR_TIE = {"float32": 1e-3, "bfloat16": 0.1}  # between logits, as a share of their deviation
GEMMA: dict[str, Any] = LLAMA | {"model_type": "gemma2", "sliding_window": 8, "query_pre_attn_scalar": 16}
SHAPES = {"tiny": LLAMA, "tiny gemma2": GEMMA, "small": SMOLLM2_135M}


def step(setting: Setting, findings: Findings) -> None:
    for shape in SHAPES:
        for dtype in NEAR_TIE:
            findings.attempt(f"{shape} in {dtype}", partial(_compare, setting, shape, dtype))


@torch.inference_mode()
def _compare(setting: Setting, shape: str, dtype: str) -> Figures:
    if setting.rehearse and dtype == "bfloat16":
        raise CannotRun("Triton's interpreter multiplies the bits of bfloat16 as integers")
    if setting.rehearse and shape == "small":
        raise CannotRun("its 135 million weights take an interpreter too long")
    folder = setting.model(SHAPES[shape], shape.replace(" ", "-"))
    lengths, tokens = ((1, 9), 2) if setting.rehearse else ((1, 9, 26, 70, 300, 700), 64)
    draw = random.Random(5)
    prompts = [[draw.randrange(16, 600) for _ in range(length)] for length in lengths]
    engine = cuda_engine(setting, folder, weights=dtype, max_batched_tokens=64, max_num_seqs=4)
    ours, model = answers(engine, prompts, tokens), _load(setting, folder, dtype)
    gaps = [_gap(model, prompt, answer, tokens) for prompt, answer in zip(prompts, ours, strict=True)]
    return {
        "ok": max(gaps) < NEAR_TIE[dtype],
        "answers": len(gaps),
        "equal": sum(gap == 0.0 for gap in gaps),
        "gap where one first differs": max(gaps),
        "operations": type(engine.runner.backend).__name__,
        "overlapped steps": engine.counters()["overlapped_steps"],
    }


def _load(setting: Setting, folder: Path, dtype: str) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(setting.device).eval()
    model.generation_config = GenerationConfig()
    return model


def _gap(model: Any, prompt: list[int], ours: list[int], tokens: int) -> float:
    """By how much ``generate`` preferred its token to ours where they first differ; 0 where they never do."""
    ids = torch.tensor([prompt], device=model.device)
    settings = GenerationConfig(do_sample=False, max_new_tokens=tokens, eos_token_id=None, pad_token_id=0)
    theirs = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)[0, len(prompt) :]
    differing = [place for place, pair in enumerate(zip(ours, theirs.tolist(), strict=True)) if pair[0] != pair[1]]
    if not differing:
        return 0.0
    seen = torch.cat([ids[0], theirs[: differing[0]]]).unsqueeze(0)
    logits = model(input_ids=seen, use_cache=False).logits[0, -1].float()
    return float((logits.max() - logits[ours[differing[0]]]).abs() / logits.std()) or 1e-9


if __name__ == "__main__":
    run_step(step)
