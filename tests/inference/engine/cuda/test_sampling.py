"""The kernel draws what the sampler's own loop draws."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest
import torch

from inference.engine.cuda.elementwise import draw_nucleus
from inference.engine.sampler import Sampler, _draw_nucleus, _Weights, hashes
from inference.engine.sampling_params import SamplingParams
from inference.engine.sequence import Sequence

ROWS = 24


def make_sequences(**params: Any) -> list[Sequence]:
    tokens = array("i", [1, 2, 3])
    return [Sequence("r", tokens, 1, SamplingParams(**params), seed, 1000, (0, 0.0, 0)) for seed in range(ROWS)]


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3, 0.0001])
def test_it_draws_the_same_tokens_from_the_same_seeds(top_p: float, device: torch.device) -> None:
    sampling = Sampler(640, torch.device("cpu")).prepare(make_sequences(top_p=top_p))
    (block,) = sampling.blocks
    values = (torch.randn(ROWS, 5, 128, generator=torch.Generator().manual_seed(3)) * 3).exp()
    values[:, :, 90:] = 0.0
    values /= values.amax((1, 2), keepdim=True)
    mass = values.sum((1, 2))
    starts = torch.arange(0, 640, 128).expand(ROWS, -1)
    expected = _draw_nucleus(_Weights(values.clone(), starts), mass, block, sampling.steps)
    limits = torch.full_like(mass, float("inf")) if block.top_p is None else mass * block.top_p
    states = torch.from_numpy(np.stack([hashes(range(ROWS)), sampling.steps]).view(np.int64))
    drawn = draw_nucleus(values.flatten(1).to(device), limits.to(device), states.to(device))
    assert drawn.tolist() == expected.tolist()
    if top_p < 0.001:
        assert expected.tolist() == values.flatten(1).argmax(1).tolist()


def test_a_row_that_is_not_finite_ends(device: torch.device) -> None:
    weights = torch.full((1, 256), float("nan"), device=device)
    limits, states = torch.full((1,), float("nan"), device=device), torch.ones(2, 1, dtype=torch.int64, device=device)
    assert 0 <= draw_nucleus(weights, limits, states).item() < 256


@pytest.mark.cuda
def test_drawing_never_waits_for_the_device_and_draws_what_a_cpu_draws(device: torch.device) -> None:
    wishes: list[dict[str, Any]] = [
        {},
        {"top_p": 0.7},
        {"top_k": 9},
        {"min_p": 0.1},
        {"temperature": 0.0},
        {"logprobs": 4},
    ]
    seqs = [make_sequences(**params)[number] for number, params in enumerate(wishes)]
    logits = torch.randn(len(seqs), 5000, generator=torch.Generator().manual_seed(4)) * 3
    expected, _ = Sampler(5000, logits.device).prepare(seqs).draw(logits).read()
    sampler, there = Sampler(5000, device), logits.to(device)
    sampler.prepare(seqs).draw(there).read()  # compiles the kernel
    torch.cuda.set_sync_debug_mode("error")
    try:
        drawn = sampler.prepare(seqs[::-1]).draw(there.flip(0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    token_ids, logprobs = drawn.read()
    assert (token_ids, list(logprobs)) == (expected[::-1], [0])
