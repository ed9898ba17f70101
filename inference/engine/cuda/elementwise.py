"""The small kernels of a step: keys and values into the cache, RMSNorm, tokens that never leave the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import triton
from torch import Tensor, nn

from ..attention import KVCache
from ..fusing import rms_norm
from . import kernels

NUCLEUS_TILE = 4096


def write(cache: KVCache, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> None:
    """Store ``key`` and ``value`` [T, kv_heads, D] at ``slots`` [T]; the last dimension must be contiguous."""
    heads, key_dim, value_dim = key.shape[1], key.shape[2], value.shape[2]
    kernels.write[(len(slots),)](
        key, value, cache.keys[layer], cache.values[layer], slots,
        key.stride(0), key.stride(1), value.stride(0), value.stride(1),
        HEADS=heads, HEADS_PAD=triton.next_power_of_2(heads),
        KEY_DIM=key_dim, KEY_PAD=triton.next_power_of_2(key_dim),
        VALUE_DIM=value_dim, VALUE_PAD=triton.next_power_of_2(value_dim),
    )  # fmt: skip


class FusedRMSNorm(nn.Module):
    """``x / sqrt(mean(x^2) + epsilon) * (weight + offset)`` over the last dimension, in one pass."""

    def __init__(self, weight: Tensor, epsilon: float, offset: int) -> None:
        super().__init__()
        self.weight, self.epsilon, self.offset = nn.Parameter(weight, requires_grad=False), epsilon, offset

    def forward(self, inputs: Tensor) -> Tensor:
        size = inputs.shape[-1]
        rows = inputs.reshape(-1, size)
        output = torch.empty_like(rows, memory_format=torch.contiguous_format)
        kernels.normalize[(len(rows),)](
            rows, self.weight, output, rows.stride(0), self.epsilon,
            OFFSET=self.offset, SIZE=size, PAD=triton.next_power_of_2(size), num_warps=8,
        )  # fmt: skip
        return output.view(inputs.shape)


def norms(module: Any) -> Iterator[nn.Module]:
    if found := rms_norm(module):
        yield from (FusedRMSNorm(*found, offset) for offset in (0, 1))


def resolve(token_ids: Tensor, sampled: Tensor) -> None:
    """Replace -1 - k in ``token_ids`` [T], in place, by the k-th of ``sampled``."""
    kernels.resolve[(len(token_ids),)](token_ids, sampled)


def draw_nucleus(weights: Tensor, limits: Tensor, states: Tensor) -> Tensor:
    """[R] a column of ``weights`` [R, N] for each row, drawn from the highest whose sum reaches ``limits`` [R].

    ``states`` [2, R] are the hashes of the seeds and the numbers of tokens written, as ``sampler.uniforms`` takes them.
    """
    columns = torch.empty(len(weights), dtype=torch.int64, device=weights.device)
    kernels.nucleus[(len(weights),)](
        weights, limits, states, columns, len(weights), weights.shape[1], TILE=NUCLEUS_TILE
    )
    return columns
