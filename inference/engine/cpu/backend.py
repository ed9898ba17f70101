"""The operations by the kernels: packed weights, whole layers in one call, a KV cache in bfloat16."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..attention import AttentionContext, KVCache, LayerShape
from ..batch import Batch
from ..ops import Embedding, Layer, Linear, Norm, Ops, Rotation, kv_numbers
from ..sequence import Chunk
from .attention import CpuCache, CpuContext, LayerArgs
from .library import fields, keep_memory, trim_memory
from .linear import PackedLinear, fastest, packable
from .planning import Planner

LONGEST_HEAD = 256
# What int8 weights explain in a model of random weights and in a layer, and keys and values in bfloat16 in attention.
TOLERANCES = (0.15, 0.08, 0.03)
GATES = {"silu": 0, "gelu_tanh": 1}  # as kernels.c numbers them


class DecoderArgs(ctypes.Structure):
    """``decoder`` in kernels.c."""

    _fields_ = fields("input_norm post_norm qkv o gate_up down attention", "size gelu", "input_eps post_eps")


class CpuOps(Ops):
    """``weights`` is ``int8``, ``bfloat16``, or ``auto`` for the faster of them on this processor.

    Activations are float32. Attention whose heads the kernels cannot take is computed by torch.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype, weights: str, most_rows: int) -> None:
        super().__init__(torch.device("cpu"), dtype)
        self.weights = weights
        self.tolerance, self.layer_tolerance, self.attention_tolerance = TOLERANCES
        self._library, self._most_rows = library, most_rows
        self._planner = Planner(library)

    @property
    def description(self) -> str:
        return f"our CPU kernels, weights in {self.weights}"

    @property
    def activations(self) -> torch.dtype:
        return torch.float32

    def begin(self, shapes: Sequence[tuple[int, int]], context_limit: int | None) -> None:
        if self.weights == "auto":
            self.weights = fastest(self._library, shapes, (1, self._most_rows))

    def linear(self, weights: Sequence[Tensor], bias: Tensor | None = None) -> Linear:
        if not packable(weights[0].shape[1]):
            return Ops(self.device, torch.float32).linear(weights, bias)
        return PackedLinear(self._library, weights, bias, self.weights)

    def replaces(self, weight: Tensor, output: bool) -> bool:
        return packable(weight.shape[1])

    def vocabulary(self, table: Tensor, head: Tensor | None) -> tuple[Embedding, Linear]:
        output = self.linear([table if head is None else head])
        if head is None and isinstance(output, PackedLinear):
            return output.rows, output
        rows = table.clone()  # in its stored type, widened as it is looked up
        return lambda ids: functional.embedding(ids, rows).float(), output

    def loaded(self) -> None:
        trim_memory()
        keep_memory()  # only now: what is packed would lie scattered among what was freed meanwhile

    def norm(self, x: Tensor, norm: Norm | None) -> Tensor:
        if norm is None:
            return x
        x = x.contiguous()
        output, size = torch.empty_like(x), x.shape[-1]
        weight = norm.weight.data_ptr()
        self._library.rms_norm(x.data_ptr(), weight, output.data_ptr(), x.numel() // size, size, norm.eps)
        return output

    def attend(self, layer: Layer, qkv: Tensor, rotation: Rotation | None, context: AttentionContext) -> Tensor:
        if not isinstance(context, CpuContext):
            return super().attend(layer, qkv, rotation, context)
        if layer.norms_whole_rows:
            qkv = self._with_whole_norms(layer, qkv)
        return context.attend_packed(layer, qkv, rotation)

    def _with_whole_norms(self, layer: Layer, qkv: Tensor) -> Tensor:
        first, end = layer.attended, layer.attended + layer.shape.kv_heads * layer.shape.key_dim
        query, key = self.norm(qkv[:, :first], layer.query_norm), self.norm(qkv[:, first:end], layer.key_norm)
        return torch.cat([query, key, qkv[:, end:]], -1)

    def gate(self, both: Tensor, activation: str) -> Tensor:
        if activation not in GATES:
            return super().gate(both, activation)
        both, size = both.contiguous(), both.shape[-1] // 2
        output = both.new_empty(len(both), size)
        self._library.gate(both.data_ptr(), output.data_ptr(), len(both), size, GATES[activation])
        return output

    def layer(self, layer: Layer, x: Tensor, rotation: Rotation | None, context: AttentionContext) -> Tensor:
        """One call where the layer is as Llama's."""
        if not isinstance(context, CpuContext):
            return super().layer(layer, x, rotation, context)
        args = context.cache.whole_layers.get(layer.index)
        if args is None:
            args = context.cache.whole_layers[layer.index] = _decoder_args(layer, context.cache)
        if not isinstance(args, DecoderArgs):
            return super().layer(layer, x, rotation, context)
        x, output = x.contiguous(), torch.empty_like(x)
        cos, sin, rotary = context.places(rotation)
        plan = ctypes.addressof(context.plan)
        self._library.decode(ctypes.addressof(args), plan, x.data_ptr(), cos, sin, rotary, output.data_ptr())
        return output

    def token_bytes(self, shapes: dict[int, LayerShape]) -> int:
        return kv_numbers(shapes) * (2 if _fits_kernels(shapes) else 4)

    def new_cache(self, shapes: dict[int, LayerShape], num_blocks: int, block_size: int) -> KVCache:
        if _fits_kernels(shapes):
            return CpuCache(shapes, num_blocks)
        return KVCache(shapes, num_blocks, block_size, torch.empty(0))

    def build(self, chunks: list[Chunk], cache: Any) -> Batch:
        return self._planner.build(chunks, cache) if isinstance(cache, CpuCache) else super().build(chunks, cache)


def _fits_kernels(shapes: dict[int, LayerShape]) -> bool:
    dims = {(shape.key_dim, shape.value_dim) for shape in shapes.values()}
    return all(key == value and key % 16 == 0 and key <= LONGEST_HEAD for key, value in dims)


def _decoder_args(layer: Layer, cache: CpuCache) -> DecoderArgs | bool:
    """``False`` where ``decode`` in kernels.c computes something else than this layer, which has more to it."""
    before, between = layer.before_attention, layer.before_mlp
    matrices = (layer.qkv, layer.o, layer.gate_up, layer.down)
    more = layer.after_attention or layer.after_mlp or layer.norms_whole_rows or layer.residual != 1.0
    if more or before is None or between is None or layer.activation not in GATES:
        return False
    if not all(isinstance(matrix, PackedLinear) for matrix in matrices):
        return False
    attention: LayerArgs = cache.layer_args(layer)
    return DecoderArgs(
        before.weight.data_ptr(),
        between.weight.data_ptr(),
        *(matrix.address for matrix in matrices if isinstance(matrix, PackedLinear)),
        ctypes.addressof(attention),
        len(before.weight),
        GATES[layer.activation],
        before.eps,
        between.eps,
    )
