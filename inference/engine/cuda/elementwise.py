"""The small kernels of a step: keys and values into the cache, RMSNorm, tokens that never leave the device."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from ..attention import KVCache
from ..ops import Layer, Norm, Rotation
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


def normalize(inputs: Tensor, norm: Norm) -> Tensor:
    """``ops.Norm`` over the last dimension, in one pass."""
    size = inputs.shape[-1]
    rows = inputs.reshape(-1, size)
    output = torch.empty_like(rows, memory_format=torch.contiguous_format)
    kernels.normalize[(len(rows),)](
        rows, norm.weight, output, rows.stride(0), norm.eps,
        EARLY=norm.early, SIZE=size, PAD=triton.next_power_of_2(size), num_warps=8,
    )  # fmt: skip
    return output.view(inputs.shape)


def prepare(layer: Layer, qkv: Tensor, rotation: Rotation | None, cache: KVCache, slots: Tensor) -> Tensor:
    """Queries [T, heads, D] of ``qkv`` [T, (heads + 2 kv_heads) D], normalised and rotated; keys and values, the keys
    likewise, go to their slots.
    """
    dim, kv_heads = layer.shape.key_dim, layer.shape.kv_heads
    query = qkv.new_empty(len(qkv), layer.heads, dim)
    cos, sin = rotation or (qkv, qkv)
    norms = (layer.query_norm, layer.key_norm)
    query_norm, key_norm = (norm.weight if norm else qkv for norm in norms)
    kernels.prepare[(len(qkv), layer.heads + 2 * kv_heads)](
        qkv, cos, sin, query_norm, key_norm, query, cache.keys[layer.index], cache.values[layer.index], slots,
        norms[0].eps if norms[0] else 0.0,
        HEADS=layer.heads, KV_HEADS=kv_heads, DIM=dim, PAD=triton.next_power_of_2(dim),
        ROTARY=cos.shape[-1] if rotation else 0, NORMED=norms[0] is not None, num_warps=1,
    )  # fmt: skip
    return query


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
