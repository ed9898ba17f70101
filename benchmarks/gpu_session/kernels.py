"""Every kernel against what it stands for: by itself in half precision, then as a layer by the check at load."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_session.findings import Figures, Findings, Setting, run_step
from benchmarks.gpu_session.pages import Pages, chunk_errors, decode_errors
from inference.engine import EngineConfig, model_runner
from inference.engine.attention import Attending, KVCache, LayerShape
from inference.engine.cuda import attention, elementwise
from inference.engine.cuda.backend import CudaOps
from inference.engine.models.checking import relative_difference
from inference.engine.ops import Layer, Norm, Ops
from inference.engine.sampler import Sampler, _draw_nucleus, _Weights, hashes
from inference.engine.sampling_params import SamplingParams
from inference.engine.sequence import Sequence, token_array

CLOSE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 1.6e-2}
HOWS = {
    "plain": Attending(0.0),
    "window": Attending(0.0, 37),
    "softcap": Attending(0.0, None, 1.5),
    "both": Attending(0.0, 70, 1.5),
}
SHARED_HEADS = {"every head its own": (4, 4), "four share": (8, 2), "eight share": (8, 1)}
REHEARSED = {("every head its own", "plain"), ("four share", "both")}
LONG, REHEARSED_LONG = 4000, 150  # keys of one sequence, which are then split among many programs
MANY = 96  # sequences, which leave nothing to split
DIMS, REHEARSED_DIMS = (64, 128, 256), (64,)
LAYERS: dict[str, dict[str, Any]] = {
    "llama of 64": {"model_type": "llama", "head_dim": 64},
    "llama of 128": {"model_type": "llama", "head_dim": 128},
    "llama of 256": {"model_type": "llama", "head_dim": 256},
    "qwen3": {"model_type": "qwen3", "head_dim": 128},
    "gemma2": {"model_type": "gemma2", "head_dim": 256, "sliding_window": 64, "query_pre_attn_scalar": 256},
    "gemma3": {"model_type": "gemma3_text", "head_dim": 256, "sliding_window": 64},
    "phi3": {"model_type": "phi3", "sliding_window": 64},
    "smollm3": {"model_type": "smollm3", "head_dim": 64, "no_rope_layers": [1, 0]},
    "olmo2": {"model_type": "olmo2"},
}
REHEARSED_LAYERS = ("gemma2",)
SIZES = {
    "vocab_size": 600,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}
REHEARSED_SIZES = SIZES | {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "head_dim": 32}


def step(setting: Setting, findings: Findings) -> None:
    for name, work in cases(setting).items():
        findings.attempt(name, work)


def cases(setting: Setting) -> dict[str, Callable[[], Figures]]:
    dims = REHEARSED_DIMS if setting.rehearse else DIMS
    found: dict[str, Callable[[], Figures]] = {}
    for dim in dims:
        found[f"decode of {dim}"] = partial(_attention, setting, dim, decode_cases)
        found[f"chunks of {dim}"] = partial(_attention, setting, dim, chunk_cases)
        found[f"a NaN of {dim} stays where it is"] = partial(_not_finite, setting, dim)
        found[f"prepare of {dim}"] = partial(_prepare, setting, dim)
    found |= {work.__name__.strip("_"): partial(work, setting) for work in (_write, _norm, _gate, _resolve, _nucleus)}
    for name in REHEARSED_LAYERS if setting.rehearse else LAYERS:
        found[f"layers of {name}"] = partial(_layers, setting, name)
    return found


def decode_cases(pages: Callable[..., Pages], how: Attending, long: int) -> list[list[float]]:
    """Several lengths; one sequence alone, split; and so many that nothing is."""
    few = decode_errors(pages([1, 16, 130, 64]), how)
    alone = decode_errors(pages([long]), how)
    return [few, alone, decode_errors(pages([5, 40] * (MANY // 2 if long == LONG else 2)), how)]


def chunk_cases(pages: Callable[..., Pages], how: Attending, long: int) -> list[list[float]]:
    """Prompts whole, of one token and of several tiles, and what goes on from a long context."""
    return [chunk_errors(pages([2, 70, 150, long]), [2, 70, 90, 20], how)]


def _attention(setting: Setting, dim: int, compute: Callable[..., list[list[float]]]) -> Figures:
    """The largest difference from float64 by way of attending and of sharing heads."""
    long, worst = REHEARSED_LONG if setting.rehearse else LONG, {}
    for (shares, (heads, kv_heads)), (how, attending) in product(SHARED_HEADS.items(), HOWS.items()):
        if setting.rehearse and (shares, how) not in REHEARSED:
            continue
        pages = partial(_pages, setting, heads, kv_heads, dim)
        errors = compute(pages, attending, long)
        worst[f"{shares}, {how}"] = _largest([error for part in errors for error in part])
    return {"ok": _largest(worst.values()) < CLOSE[setting.half], "largest differences": worst}


def _pages(setting: Setting, heads: int, kv_heads: int, dim: int, lengths: list[int]) -> Pages:
    return Pages(lengths, heads, kv_heads, dim, dim, 16, setting.half, setting.device)


def _largest(errors: Any) -> float:
    """NaN where there is one, which ``max`` may pass over."""
    return float(torch.tensor(list(errors)).max())


def _not_finite(setting: Setting, dim: int) -> Figures:
    """A sequence with a NaN among its keys or values is not finite, and another is as it was, whatever the split."""
    for keep, compute in (("decode", decode_errors), ("chunks", lambda pages: chunk_errors(pages, [1, 20, 1]))):
        for part in ("keys", "values"):
            pages = _pages(setting, 8, 2, dim, [40, 150, 17])
            getattr(pages, part)[pages.blocks[1][0], 3] = float("nan")
            before, spoiled, after, elsewhere = compute(pages)
            if not math.isnan(spoiled) or not max(before, after, elsewhere) < CLOSE[setting.half]:
                return {"ok": False, "why": f"{keep}, {part}: {before}, {spoiled}, {after}, {elsewhere}"}
    return {}


def _compared(what: dict[str, tuple[Tensor, Tensor]], close: float) -> Figures:
    """Relative differences of pairs (ours, the reference's)."""
    differences = {
        name: float(relative_difference(ours.flatten(1), other.flatten(1))) for name, (ours, other) in what.items()
    }
    return {"ok": _largest(differences.values()) < close, "relative differences": differences}


@torch.inference_mode()
def _prepare(setting: Setting, dim: int) -> Figures:
    """Normalised or not, rotated whole, in part or not: queries and keys, of half precision."""
    found = {}
    for normed, rotary in product((False, True), (0, dim // 2, dim)):
        layer, shape = _bare_layer(setting, dim, normed)
        qkv = torch.randn(5, 8 * dim).to(setting.device, setting.half)
        angles = torch.randn(5, max(rotary, 1), device=setting.device)
        rotation = (angles.cos().to(qkv.dtype), angles.sin().to(qkv.dtype)) if rotary else None
        slots = torch.tensor([17, 2, 9, 0, 11], device=setting.device)
        ours, theirs = (KVCache({0: shape}, 5, 4, qkv[:0]) for _ in range(2))
        query = elementwise.prepare(layer, qkv, rotation, ours, slots)
        expected = Ops(setting.device, setting.half).attend(layer, qkv, rotation, _Taking(theirs, slots))
        found[f"{normed}, {rotary}, queries"] = query.flatten(1), expected
        written = (cache.keys[0].flatten(0, 1)[slots] for cache in (ours, theirs))
        found[f"{normed}, {rotary}, keys"] = next(written), next(written)
    return _compared(found, CLOSE[setting.half])


class _Taking:
    """An attention that gives the queries back."""

    def __init__(self, cache: KVCache, slots: Tensor) -> None:
        self._cache, self._slots = cache, slots

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: Attending) -> Tensor:
        self._cache.write(layer, self._slots, key, value)
        return query


def _bare_layer(setting: Setting, dim: int, normed: bool) -> tuple[Layer, LayerShape]:
    shape, linear = LayerShape(2, dim, dim, Attending(dim**-0.5)), Any
    weights = [Norm(torch.randn(dim, device=setting.device), 1e-5) if normed else None for _ in range(2)]
    layer = Layer(0, 4, shape, 0, *[linear] * 4, "silu", *weights, None, None, None, None, 1.0)  # type: ignore[arg-type]
    return layer, shape


def _write(setting: Setting) -> Figures:
    like = torch.empty(0, dtype=setting.half, device=setting.device)
    ours, theirs = (KVCache({0: LayerShape(3, 24, 16, Attending(0.2))}, 5, 4, like) for _ in range(2))
    key, value = (torch.randn(3, 3, dim).to(like).transpose(0, 1) for dim in (24, 16))
    slots = torch.tensor([17, 2, 9], device=setting.device)
    elementwise.write(ours, 0, slots, key, value)
    theirs.write(0, slots, key, value)
    return {"ok": torch.equal(ours.keys[0], theirs.keys[0]) and torch.equal(ours.values[0], theirs.values[0])}


@torch.inference_mode()
def _norm(setting: Setting) -> Figures:
    found, ops = {}, Ops(setting.device, setting.half)
    for early, size in product((False, True), (24, 576, 4096)):
        norm = Norm(torch.randn(size, device=setting.device), 1e-5, early)
        inputs = torch.randn(5, size + 8).to(setting.device, setting.half)[..., :size]  # a gap between rows
        found[f"{early}, {size}"] = elementwise.normalize(inputs, norm), ops.norm(inputs, norm)
    return _compared(found, CLOSE[setting.half])


@torch.inference_mode()
def _gate(setting: Setting) -> Figures:
    ours = CudaOps(EngineConfig(model=""), setting.device, setting.half)
    theirs, both = Ops(setting.device, setting.half), torch.randn(3, 2 * 1500).to(setting.device, setting.half)
    return _compared(
        {name: (ours.gate(both, name), theirs.gate(both, name)) for name in ("silu", "gelu_tanh")}, CLOSE[setting.half]
    )


def _resolve(setting: Setting) -> Figures:
    token_ids = torch.tensor([7, -1, 0, -3], device=setting.device)
    elementwise.resolve(token_ids, torch.tensor([40, 41, 42], device=setting.device))
    return {"ok": token_ids.tolist() == [7, 40, 0, 42]}


def _nucleus(setting: Setting) -> Figures:
    """The tokens that the sampler's own loop draws from the same seeds."""
    rows = 24
    for top_p in (1.0, 0.9, 0.3):
        seqs = [
            Sequence("r", token_array([1, 2, 3]), 1, SamplingParams(top_p=top_p), seed, 1000, (0, 0.0, 0))
            for seed in range(rows)
        ]
        sampling = Sampler(640, torch.device("cpu")).prepare(seqs)
        (block,) = sampling.blocks
        values = (torch.randn(rows, 5, 128) * 3).exp()
        values /= values.amax((1, 2), keepdim=True)
        mass, starts = values.sum((1, 2)), torch.arange(0, 640, 128).expand(rows, -1)
        expected = _draw_nucleus(_Weights(values.clone(), starts), mass, block, sampling.steps)
        limits = torch.full_like(mass, float("inf")) if block.top_p is None else mass * block.top_p
        states = torch.from_numpy(np.stack([hashes(range(rows)), sampling.steps]).view(np.int64))
        there = (part.to(setting.device) for part in (values.flatten(1), limits, states))
        if (drawn := elementwise.draw_nucleus(*there).tolist()) != expected.tolist():
            return {"ok": False, "why": f"top_p {top_p}: {drawn}, not {expected.tolist()}"}
    return {}


def _layers(setting: Setting, name: str) -> Figures:
    """The check at load, which raises ``KernelMismatch``, on a model with random weights."""
    shape = LAYERS[name] | REHEARSED_SIZES if setting.rehearse else SIZES | LAYERS[name]
    folder = setting.model(shape, name.replace(" ", "-"))
    config = EngineConfig(model=str(folder), max_batched_tokens=128)
    model = model_runner.load_with(CudaOps(config, setting.device, setting.half), folder)
    return {"model": model.name, "splits of one sequence": attention._splits(1, setting.device)}


if __name__ == "__main__":
    run_step(step)
