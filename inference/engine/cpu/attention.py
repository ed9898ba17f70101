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

from ..attention import Attending, KVCache, LayerShape
from ..ops import Layer, Rotation
from .library import fields, pages

BLOCK = 16  # tokens, as kernels.c has them


class LayerArgs(ctypes.Structure):
    """``layer`` in kernels.c."""

    _fields_ = fields("keys values query_norm key_norm", "heads kv_heads dim window block", "scale softcap eps")


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
    """Keys and values by layer, ``[num_blocks, kv_heads, 16 * dim]`` bfloat16 each, in the kernels' layout.

    A block's lie side by side for all layers, so that the first blocks touch few huge pages, each of which is memory.

    What the kernels are told of a layer points into it, and is made once: ``whole_layers`` are the arguments of layers
    that are one call, ``False`` for those that are not.
    """

    def __init__(self, shapes: dict[int, LayerShape], num_blocks: int) -> None:
        self.shapes, self.num_blocks, self.block_size = shapes, num_blocks, BLOCK
        self._lay_out(shapes, lambda n, heads, dim: _zeros(num_blocks, n, heads, BLOCK * dim).transpose(0, 1))
        self._args: dict[tuple[object, ...], LayerArgs] = {}
        self._layers: dict[int, LayerArgs] = {}
        self.whole_layers: dict[int, Any] = {}

    def args(self, layer: int, heads: int, how: Attending) -> LayerArgs:
        """Kernel arguments of a layer whose queries and keys are normalised already."""
        key = (layer, heads, how)
        if key not in self._args:
            shape = self.shapes[layer]
            places = (self.keys[layer].data_ptr(), self.values[layer].data_ptr(), None, None)
            sizes = (heads, shape.kv_heads, shape.key_dim, how.window or 0, self.keys[layer].stride(0))
            self._args[key] = LayerArgs(*places, *sizes, how.scale, how.softcap or 0.0, 0.0)
        return self._args[key]

    def layer_args(self, layer: Layer) -> LayerArgs:
        """The same with the norms of its heads."""
        if layer.index not in self._layers:
            args = LayerArgs.from_buffer_copy(self.args(layer.index, layer.heads, layer.shape.how))
            if layer.query_norm is not None and layer.key_norm is not None and not layer.norms_whole_rows:
                args.query_norm, args.key_norm = layer.query_norm.weight.data_ptr(), layer.key_norm.weight.data_ptr()
                args.eps = layer.query_norm.eps
            self._layers[layer.index] = args
        return self._layers[layer.index]


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
        tensors = [each.float() if each.stride(-1) == 1 else each.float().contiguous() for each in (query, key, value)]
        qkv = (Heads * 3)(*(Heads(each.data_ptr(), each.stride(0), each.stride(1)) for each in tensors))
        output = torch.empty(query.shape)
        self._run(self.cache.args(layer, query.shape[1], how), qkv, None, output)
        return output.to(query.dtype)

    def attend_packed(self, layer: Layer, qkv: Tensor, rotation: Rotation | None) -> Tensor:
        """``qkv`` [T, (heads + 2 kv_heads) D] -> [T, heads D]; norms of heads and rotation included."""
        qkv = qkv.contiguous()
        output = qkv.new_empty(len(qkv), layer.attended)
        places = (Heads * 3)(*_heads_of(qkv, layer.heads, layer.shape.kv_heads, layer.shape.key_dim))
        self._run(self.cache.layer_args(layer), places, rotation, output)
        return output

    def places(self, rotation: Rotation | None) -> tuple[int | None, int | None, int]:
        """Where cosines and sines [T, rotary] lie, and ``rotary``."""
        if rotation is None:
            return None, None, 0
        cos, sin = rotation
        return cos.data_ptr(), sin.data_ptr(), cos.shape[-1]

    def _run(self, args: LayerArgs, qkv: Any, rotation: Rotation | None, output: Tensor) -> None:
        plan = ctypes.addressof(self.plan)
        places = (*self.places(rotation), output.data_ptr())
        self.library.attention(ctypes.addressof(args), plan, ctypes.addressof(qkv), *places)


def _heads_of(qkv: Tensor, heads: int, kv_heads: int, dim: int) -> Iterator[Heads]:
    """Queries, keys and values side by side in ``qkv`` [T, (heads + 2 kv_heads) dim], float32."""
    for first in (0, heads, heads + kv_heads):
        yield Heads(qkv.data_ptr() + first * dim * 4, qkv.shape[-1], dim)
