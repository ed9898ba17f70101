"""The small kernels compute what the modules and operators they stand for compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from inference.engine.attention import KVCache, LayerShape
from inference.engine.cuda.elementwise import FusedRMSNorm, norms, resolve, write
from inference.engine.fusing import fuse

DTYPES = [torch.float32, torch.float16, pytest.param(torch.bfloat16, marks=pytest.mark.cuda)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_keys_and_values_go_to_their_slots_and_nowhere_else(dtype: torch.dtype, device: torch.device) -> None:
    like = torch.empty(0, dtype=dtype, device=device)
    written, expected = (KVCache({0: LayerShape(3, 24, 16)}, 5, 4, like) for _ in range(2))
    key, value = torch.randn(3, 3, 24), torch.randn(3, 3, 16)
    key, value = (x.to(device, dtype).transpose(0, 1) for x in (key, value))  # as transformers hands them over
    slots = torch.tensor([17, 2, 9], device=device)
    write(written, 0, slots, key, value)
    expected.write(0, slots, key, value)
    assert torch.equal(written.keys[0], expected.keys[0])
    assert torch.equal(written.values[0], expected.values[0])


def replaced(norm: nn.Module, *inputs: torch.Tensor) -> nn.Module:
    """What ``norm`` is replaced by where it is called with ``inputs``."""
    model = nn.ModuleList([norm])

    fuse(model, lambda: model[0](*inputs), "norms", norms, 4 * torch.finfo(inputs[0].dtype).eps)
    return model[0]


class Upside(nn.Module):
    """Has an RMSNorm's name and attributes, and computes something else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(24)), 1e-6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


class UpsideRMSNorm(Upside): ...


class GatedRMSNorm(LlamaRMSNorm):
    def forward(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * gate


@pytest.mark.parametrize("kind", [LlamaRMSNorm, Gemma2RMSNorm])
@pytest.mark.parametrize("dtype", DTYPES)
@torch.inference_mode()
def test_a_norm_of_either_kind_is_replaced_by_one_that_agrees(
    kind: Any, dtype: torch.dtype, device: torch.device
) -> None:
    norm = kind(24, eps=1e-3).to(device, dtype)
    norm.weight.copy_(torch.randn(24))
    inputs = torch.randn(2, 5, 48).to(device, dtype)[..., :24]  # rows with a gap between them
    fused = replaced(norm, inputs)
    assert isinstance(fused, FusedRMSNorm)
    torch.testing.assert_close(fused(inputs), norm(inputs))


def test_a_norm_that_computes_something_else_or_takes_a_gate_stays(device: torch.device) -> None:
    inputs = torch.randn(5, 24, device=device)
    upside, gated = UpsideRMSNorm().to(device), GatedRMSNorm(24, eps=1e-6).to(device)
    assert replaced(upside, inputs) is upside
    assert replaced(gated, inputs, inputs) is gated


def test_tokens_that_never_left_the_device_take_their_places(device: torch.device) -> None:
    token_ids = torch.tensor([7, -1, 0, -3], device=device)
    resolve(token_ids, torch.tensor([40, 41, 42], device=device))
    assert token_ids.tolist() == [7, 40, 0, 42]
