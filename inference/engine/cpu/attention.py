"""Paged attention by the kernels: the KV cache in bfloat16, and a step's context."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import UnsupportedModel
from ..attention import Attending, KVCache, LayerShape
from ..backend import KERNEL_BLOCK as BLOCK
from .library import address, fields, pages


class LayerArgs(ctypes.Structure):
    """``layer`` in kernels.c."""

    _fields_ = fields("keys values query_norm key_norm", "heads kv_heads dim window", "scale softcap eps")


class Heads(ctypes.Structure):
    """``heads`` in kernels.c: where a tensor lies, and its strides in numbers."""

    _fields_ = fields("data", "token head")


class PlanArgs(ctypes.Structure):
    """``plan`` in kernels.c."""

    _fields_ = fields(
        "slots positions row_begin row_end key_begin key_end block_begin parts rows blocks"
        " merge_rows merge_begin merge_parts",
        "tokens items merges partials",
    )


class CpuCache(KVCache):
    """Keys and values by layer, ``[num_blocks, kv_heads, 16 * dim]`` bfloat16 each, in the kernels' layout."""

    def __init__(self, shapes: dict[int, LayerShape], num_blocks: int, sharpness: float = 1.0) -> None:
        self._sharpness = sharpness  # by which scores are multiplied, to make a probe feel small differences
        self.shapes, self.num_blocks, self.block_size = shapes, num_blocks, BLOCK
        self._lay_out(shapes, lambda n, heads, dim: _zeros(n, num_blocks, heads, BLOCK * dim))
        self._args: dict[tuple[object, ...], LayerArgs] = {}

    def args(self, layer: int, heads: int, how: Attending) -> LayerArgs:
        """Kernel arguments of a layer, made once for each way of attending."""
        key = (layer, heads, how.scale, how.window, how.softcap)
        if key not in self._args:
            shape = self.shapes[layer]
            scale = how.scale if how.scale is not None else shape.key_dim**-0.5
            places = (self.keys[layer].data_ptr(), self.values[layer].data_ptr(), None, None)
            limits = (how.window or 0, scale * self._sharpness, how.softcap or 0.0, 0.0)
            self._args[key] = LayerArgs(*places, heads, shape.kv_heads, shape.key_dim, *limits)
        return self._args[key]


def _zeros(*size: int) -> Tensor:
    return pages(math.prod(size) * torch.bfloat16.itemsize).view(torch.bfloat16)[: math.prod(size)].view(size)


@dataclass(slots=True)
class CpuContext:
    """One step's attention. ``arrays`` keeps alive what ``plan`` points into."""

    library: ctypes.CDLL
    cache: CpuCache
    plan: PlanArgs
    arrays: dict[str, npt.NDArray[Any]]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: Attending) -> Tensor:
        """``query`` [T, heads, D], ``key`` and ``value`` [T, kv_heads, D], any strides but D's."""
        if how.mask is not None:
            raise UnsupportedModel("a mask of the model's own reached the attention")
        tensors = [each.float() if each.stride(-1) == 1 else each.float().contiguous() for each in (query, key, value)]
        qkv = (Heads * 3)(*(Heads(each.data_ptr(), each.stride(0), each.stride(1)) for each in tensors))
        args = self.cache.args(layer, query.shape[1], how)
        output = torch.empty(query.shape)
        self.run(args, qkv, None, None, 0, output)
        return output.to(query.dtype)

    def run(
        self, args: LayerArgs, qkv: Any, cos: Tensor | None, sin: Tensor | None, rotary: int, output: Tensor
    ) -> None:
        """``output`` [T, heads, D]; ``cos`` and ``sin`` [T, rotary] where queries and keys are to be rotated."""
        self.library.attention(
            ctypes.addressof(args),
            ctypes.addressof(self.plan),
            ctypes.addressof(qkv),
            address(cos),
            address(sin),
            rotary,
            output.data_ptr(),
        )


def heads_of(qkv: Tensor, heads: int, kv_heads: int, dim: int) -> Iterator[Heads]:
    """Queries, keys and values side by side in ``qkv`` [T, (heads + 2 kv_heads) dim], float32."""
    for first in (0, heads, heads + kv_heads):
        yield Heads(qkv.data_ptr() + first * dim * 4, qkv.shape[-1], dim)
