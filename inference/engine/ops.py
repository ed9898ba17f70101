"""What a decoder is computed with, in plain torch on any device: the reference.

``cpu`` and ``cuda`` inherit from ``Ops`` and override what they do faster; at load each is compared with this
(``models/checking.py``). A model knows its operations by this class alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from .attention import AttentionContext, KVCache, LayerShape
from .batch import Batch, build_batch
from .sequence import Chunk

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}  # relative; half precision has its own below
HALF_TOLERANCE, HALF_ATTENTION_TOLERANCE = 0.1, 0.03
SMALLEST_PACKED = 1 << 17  # numbers in a matrix; below it the longer call costs what the product gains

Rotation = tuple[Tensor, Tensor]  # cosines and sines [T, numbers of a head that are rotated]
Embedding = Callable[[Tensor], Tensor]  # token ids [T] -> [T, size]


class Linear(Protocol):
    """Inputs [..., in_features] -> [..., out_features]."""

    in_features: int
    out_features: int

    def __call__(self, inputs: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Norm:
    """``x / sqrt(mean(x^2) + eps) * weight`` over the last dimension.

    weight: [size] in float32. early: rounded to x's type before it is weighted, as Llama does; Gemma does after.
    """

    weight: Tensor
    eps: float
    early: bool = True


@dataclass(frozen=True, slots=True)
class Frequencies:
    """Of the rotation by position: [rotary / 2] angles per position, and by what the result is multiplied."""

    inverse: Tensor
    scale: float


@dataclass(frozen=True, slots=True)
class Layer:
    """``h = x + r after_attention(o(attend(qkv(before_attention(x)))))``, and the same again with the gated MLP.

    qkv: queries, keys and values side by side. query_norm, key_norm: of each head, or of all heads as one row where
    their weight is as long. rope: which of the model's ``Frequencies`` rotate it, ``None`` for none. gate_up: both
    side by side; ``activation`` is one of ``ACTIVATIONS``. A norm that is ``None`` does nothing. residual: r.
    """

    index: int
    heads: int
    shape: LayerShape
    rope: int | None
    qkv: Linear
    o: Linear
    gate_up: Linear
    down: Linear
    activation: str
    query_norm: Norm | None
    key_norm: Norm | None
    before_attention: Norm | None
    after_attention: Norm | None
    before_mlp: Norm | None
    after_mlp: Norm | None
    residual: float

    @property
    def attended(self) -> int:
        """Numbers of a token's queries, and of what its heads have gathered."""
        return self.heads * self.shape.key_dim

    @property
    def norms_whole_rows(self) -> bool:
        return self.query_norm is not None and len(self.query_norm.weight) != self.shape.key_dim


def _gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu_tanh": _gelu_tanh,
    "gelu": functional.gelu,
}


class TorchLinear:
    """On a CPU in float32 large weights are laid out for oneDNN, which multiplies them at 1.4 to 4 times MKL's speed
    (measured on an AMD EPYC for matrices from 256 x 704 up) with the same arithmetic.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.out_features, self.in_features = weight.shape
        self.bias, self._packed = bias, packable(weight)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self._packed else weight

    def __call__(self, inputs: Tensor) -> Tensor:
        if not self._packed:
            return functional.linear(inputs, self.weight, self.bias)
        output: Tensor = torch.ops.mkldnn._linear_pointwise.default(inputs, self.weight, self.bias, "none", [], "")
        return output


def packable(weight: Tensor) -> bool:
    fits = weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= SMALLEST_PACKED
    return fits and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Ops:
    """dtype: in which a model's weights are kept and computed. queues: a forward may return before it is computed,
    which the device does meanwhile, in order. tolerance, layer_tolerance, attention_tolerance: relative difference
    that the arithmetic explains, of logits, of what a layer adds, and of what its attention gives.
    """

    queues = False

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.tolerance = TOLERANCE.get(dtype, HALF_TOLERANCE)
        self.layer_tolerance = self.tolerance
        self.attention_tolerance = TOLERANCE.get(dtype, HALF_ATTENTION_TOLERANCE)
        self._carried: Tensor | None = None

    # ---- weights, into the layout in which they are computed with ----

    def begin(self, shapes: Sequence[tuple[int, int]], context_limit: int | None) -> None:
        """Called once before a model's weights, with the shapes [out, in] of its matrices."""

    def linear(self, weights: Sequence[Tensor], bias: Tensor | None = None) -> Linear:
        """One layer of ``weights`` [out, in], one below the other. Nothing of the tensors given is kept."""
        return TorchLinear(self.joined(weights), None if bias is None else self.moved(bias))

    def replaces(self, weight: Tensor, output: bool) -> bool:
        """Whether ``linear`` has something better than torch's own, for a model that brings its layers; ``output`` says
        that it gives the logits.
        """
        return packable(weight)

    def vocabulary(self, table: Tensor, head: Tensor | None) -> tuple[Embedding, Linear]:
        """Embedding and output layer; ``head`` is ``None`` where both have the weights of ``table`` [tokens, size]."""
        rows = self.moved(table)
        return lambda ids: functional.embedding(ids, rows), TorchLinear(
            rows if head is None else self.moved(head), None
        )

    def joined(self, weights: Sequence[Tensor]) -> Tensor:
        """``weights`` one below the other, in the operations' type and on their device."""
        whole = torch.empty(sum(map(len, weights)), weights[0].shape[1], dtype=self.dtype, device=self.device)
        for part, weight in zip(torch.split(whole, [len(weight) for weight in weights]), weights, strict=True):
            part.copy_(weight)
        return whole

    def moved(self, weight: Tensor) -> Tensor:
        return weight.to(self.device, self.dtype, copy=True)

    def loaded(self) -> None:
        """Called once after a model's weights."""

    # ---- operations ----

    def norm(self, x: Tensor, norm: Norm | None) -> Tensor:
        if norm is None:
            return x
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + norm.eps)
        return wide.to(x.dtype) * norm.weight.to(x.dtype) if norm.early else (wide * norm.weight).to(x.dtype)

    def rotation(self, frequencies: Frequencies, positions: Tensor) -> Rotation:
        angles = positions[:, None] * torch.cat([frequencies.inverse, frequencies.inverse])
        cos, sin = angles.cos(), angles.sin()
        if frequencies.scale != 1.0:
            cos, sin = cos.mul_(frequencies.scale), sin.mul_(frequencies.scale)
        return cos.to(self.activations), sin.to(self.activations)

    def attend(self, layer: Layer, qkv: Tensor, rotation: Rotation | None, context: AttentionContext) -> Tensor:
        """``qkv`` [T, (heads + 2 kv_heads) D]: normalised, rotated, cached and attended -> [T, heads D]."""
        kv_heads, dim = layer.shape.kv_heads, layer.shape.key_dim
        parts = torch.split(qkv, [layer.attended, kv_heads * dim, kv_heads * dim], -1)
        norms = (layer.query_norm, layer.key_norm)
        if layer.norms_whole_rows:
            parts = *(self.norm(part, norm) for part, norm in zip(parts, norms, strict=False)), parts[2]
        query, key, value = (part.reshape(len(qkv), -1, dim) for part in parts)
        if not layer.norms_whole_rows:
            query, key = self.norm(query, norms[0]), self.norm(key, norms[1])
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        return context.attend(layer.index, query, key, value, layer.shape.how).flatten(1)

    def gate(self, both: Tensor, activation: str) -> Tensor:
        """``both`` [T, 2 size] -> ``activation(left half) * right half``."""
        gate, up = both.chunk(2, -1)
        return ACTIVATIONS[activation](gate) * up

    def layer(self, layer: Layer, x: Tensor, rotation: Rotation | None, context: AttentionContext) -> Tensor:
        """A whole decoder layer, [T, size] -> [T, size]."""
        heard = self.attend(layer, layer.qkv(self.norm(x, layer.before_attention)), rotation, context)
        x = x + self.norm(layer.o(heard), layer.after_attention) * layer.residual
        inner = self.gate(layer.gate_up(self.norm(x, layer.before_mlp)), layer.activation)
        return x + self.norm(layer.down(inner), layer.after_mlp) * layer.residual

    @property
    def description(self) -> str:
        """In words, for people."""
        return f"plain torch, {self.dtype}".replace("torch.", "")

    @property
    def activations(self) -> torch.dtype:
        """In which layers pass on what they computed."""
        return self.dtype

    # ---- the cache and a step ----

    def token_bytes(self, shapes: dict[int, LayerShape]) -> int:
        """Bytes that one token takes in the KV cache."""
        return kv_numbers(shapes) * self.dtype.itemsize

    def new_cache(self, shapes: dict[int, LayerShape], num_blocks: int, block_size: int) -> KVCache:
        """Of zeros."""
        return KVCache(shapes, num_blocks, block_size, torch.empty(0, dtype=self.dtype, device=self.device))

    def build(self, chunks: list[Chunk], cache: Any) -> Batch:
        """A step's chunks as tensors."""
        return build_batch(chunks, cache, self.device)

    def resolve(self, batch: Batch) -> None:
        """Put the tokens that were carried where ``batch`` stands for them."""
        if self._carried is not None:
            unknown = batch.token_ids < 0
            batch.token_ids[unknown] = self._carried[-1 - batch.token_ids[unknown]]

    def carry(self, token_ids: Tensor) -> None:
        """Keep the tokens [S] just drawn for the next forward, whose batch was built before the host saw them: there
        -1 - k stands for the k-th.
        """
        self._carried = token_ids.clamp(min=0)

    def forward(self, model: Model, batch: Batch) -> Tensor:
        """Logits [rows of ``batch.logit_rows``, vocabulary], good until the next forward."""
        self.resolve(batch)
        return model.forward(batch)

    def warm_up(self, model: Model, cache: Any) -> None:
        """Do once, last at load, what the first steps would otherwise wait for."""


class Model(Protocol):
    """What is served, of whatever origin. context_limit: longest sequence its positions are good for, if any."""

    name: str
    vocab_size: int
    context_limit: int | None
    shapes: dict[int, LayerShape]

    @property
    def num_weights(self) -> int: ...

    def forward(self, batch: Batch) -> Tensor:
        """Logits [rows of ``batch.logit_rows``, vocabulary]."""


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """``x`` [T, heads, D] by halves, as far as the rotation goes."""
    cos, sin = (part.unsqueeze(1) for part in rotation)
    turned, passed = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    left, right = turned.chunk(2, -1)
    turned = turned * cos + torch.cat([-right, left], -1) * sin
    return torch.cat([turned, passed], -1) if passed.shape[-1] else turned


def kv_numbers(shapes: dict[int, LayerShape]) -> int:
    """That one token takes in the KV cache."""
    return sum(shape.kv_heads * (shape.key_dim + shape.value_dim) for shape in shapes.values())
