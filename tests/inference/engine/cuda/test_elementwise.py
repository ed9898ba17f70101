"""The small kernels compute what the modules and operators they stand for compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inference.engine.attention import Attending, KVCache, LayerShape
from inference.engine.cuda.elementwise import normalize, prepare, resolve, write
from inference.engine.ops import Layer, Norm, Ops

DTYPES = [torch.float32, torch.float16, pytest.param(torch.bfloat16, marks=pytest.mark.cuda)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_keys_and_values_go_to_their_slots_and_nowhere_else(dtype: torch.dtype, device: torch.device) -> None:
    like = torch.empty(0, dtype=dtype, device=device)
    written, expected = (KVCache({0: LayerShape(3, 24, 16, Attending(0.2))}, 5, 4, like) for _ in range(2))
    key, value = torch.randn(3, 3, 24), torch.randn(3, 3, 16)
    key, value = (x.to(device, dtype).transpose(0, 1) for x in (key, value))  # as transformers hands them over
    slots = torch.tensor([17, 2, 9], device=device)
    write(written, 0, slots, key, value)
    expected.write(0, slots, key, value)
    assert torch.equal(written.keys[0], expected.keys[0])
    assert torch.equal(written.values[0], expected.values[0])


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@torch.inference_mode()
def test_a_norm_of_either_kind_is_that_of_the_reference(early: bool, dtype: torch.dtype, device: torch.device) -> None:
    norm = Norm(torch.randn(24, device=device), 1e-3, early)
    inputs = torch.randn(2, 5, 48).to(device, dtype)[..., :24]  # rows with a gap between them
    torch.testing.assert_close(normalize(inputs, norm), Ops(device, dtype).norm(inputs, norm))


@pytest.mark.parametrize("rotary", [None, 16, 24])
@pytest.mark.parametrize("normed", [True, False])
@torch.inference_mode()
def test_heads_are_normalised_rotated_and_cached_as_by_the_reference(
    rotary: int | None, normed: bool, device: torch.device
) -> None:
    shape = LayerShape(2, 24, 24, Attending(0.2))
    norms = [Norm(torch.randn(24, device=device), 1e-3) if normed else None for _ in range(2)]
    linear: Any = None
    layer = Layer(0, 4, shape, 0, *[linear] * 4, "silu", *norms, None, None, None, None, 1.0)
    qkv, angles = torch.randn(5, 8 * 24, device=device), torch.randn(5, rotary or 1, device=device)
    rotation = (angles.cos(), angles.sin()) if rotary else None
    slots = torch.tensor([17, 2, 9, 0, 11], device=device)
    ours, theirs = (KVCache({0: shape}, 5, 4, torch.empty(0, device=device)) for _ in range(2))

    query = prepare(layer, qkv, rotation, ours, slots)

    expected = Ops(device, torch.float32).attend(layer, qkv, rotation, Taking(theirs, slots))
    torch.testing.assert_close(query.flatten(1), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.keys[0], theirs.keys[0], rtol=1e-5, atol=1e-5)
    assert torch.equal(ours.values[0], theirs.values[0])


class Taking:
    """An attention that gives the queries back."""

    def __init__(self, cache: KVCache, slots: torch.Tensor) -> None:
        self.cache, self.slots = cache, slots

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, how: Attending
    ) -> torch.Tensor:
        self.cache.write(layer, self.slots, key, value)
        return query


def test_tokens_that_never_left_the_device_take_their_places(device: torch.device) -> None:
    token_ids = torch.tensor([7, -1, 0, -3], device=device)
    resolve(token_ids, torch.tensor([40, 41, 42], device=device))
    assert token_ids.tolist() == [7, 40, 0, 42]
