"""The usual parts of a decoder layer as ones that run in a kernel or two."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import LayerShape
from ..fusing import fuse, plain_attention, rms_norm
from .attention import CpuCache, CpuContext, Heads, LayerArgs, heads_of
from .library import address, fields
from .linear import PackedLinear

CLOSE = 2e-3  # relative difference that another order of the same arithmetic explains


class RmsNorm(nn.Module):
    """``inputs`` [..., size] over their root mean square, times ``weight`` [size]."""

    def __init__(self, library: ctypes.CDLL, weight: Tensor, eps: float) -> None:
        super().__init__()
        self._call, self.eps = library.rms_norm, eps
        self.weight = weight.detach().float().clone()  # a plain tensor: nothing will move or train it

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs.contiguous()
        output, size = torch.empty_like(inputs), inputs.shape[-1]
        weight = self.weight.data_ptr()
        self._call(inputs.data_ptr(), weight, output.data_ptr(), inputs.numel() // size, size, self.eps)
        return output


class Rotation(nn.Module):
    """Cosines and sines of positions [1, T] -> [1, T, rotary] each, in three operations instead of fifteen."""

    def __init__(self, frequencies: Tensor, scale: float) -> None:
        super().__init__()
        self._frequencies, self._scale = torch.cat([frequencies, frequencies]).float(), scale

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        angles = position_ids.unsqueeze(-1) * self._frequencies
        cos, sin = angles.cos(), angles.sin_()
        return (cos, sin) if self._scale == 1.0 else (cos.mul_(self._scale), sin.mul_(self._scale))


class GatedMlp(nn.Module):
    """``down(activation(gate(x)) * up(x))`` with gate and up as one matrix."""

    def __init__(self, library: ctypes.CDLL, gate_up: PackedLinear, down: nn.Module, gelu: bool) -> None:
        super().__init__()
        self._call, self.gelu = library.gate, int(gelu)
        self.gate_up_proj, self.down_proj = gate_up, down

    def forward(self, inputs: Tensor) -> Tensor:
        both = self.gate_up_proj(inputs)
        size = both.shape[-1] // 2
        inner = both.new_empty(*both.shape[:-1], size)
        self._call(both.data_ptr(), inner.data_ptr(), both.numel() // (2 * size), size, self.gelu)
        output: Tensor = self.down_proj(inner)
        return output


class FusedAttention(nn.Module):
    """Queries, keys and values by one matrix; normalised, rotated, cached and attended in one kernel."""

    def __init__(self, module: Any, qkv: PackedLinear, shape: LayerShape) -> None:
        super().__init__()
        self.layer_idx: int = module.layer_idx
        self.qkv_proj, self.o_proj = qkv, module.o_proj
        self.q_norm, self.k_norm = getattr(module, "q_norm", None), getattr(module, "k_norm", None)
        self._shape = shape
        self._heads = qkv.out_features // shape.key_dim - 2 * shape.kv_heads
        self._cache: CpuCache | None = None
        self._args: LayerArgs

    def forward(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], *, paged: CpuContext, **others: Any
    ) -> tuple[Tensor, None]:
        """``hidden_states`` [1, T, size], cosines and sines [1, T, rotary] -> [1, T, size], and no weights."""
        if self._cache is not paged.cache:
            self._cache, self._args = paged.cache, self.layer_args(paged.cache)
        qkv = self.qkv_proj(hidden_states)
        cos, sin = (each.contiguous() for each in position_embeddings)
        output = qkv.new_empty(1, qkv.shape[1], self._heads * self._shape.key_dim)
        places = (Heads * 3)(*heads_of(qkv, self._heads, self._shape.kv_heads, self._shape.key_dim))
        paged.run(self._args, places, cos, sin, cos.shape[-1], output)
        return self.o_proj(output), None

    def layer_args(self, cache: CpuCache) -> LayerArgs:
        args = LayerArgs.from_buffer_copy(cache.args(self.layer_idx, self._heads, self._shape.how))
        if self.q_norm is not None and self.k_norm is not None:
            args.query_norm, args.key_norm = address(self.q_norm.weight), address(self.k_norm.weight)
            args.eps = self.q_norm.eps
        return args


class DecoderArgs(ctypes.Structure):
    """``decoder`` in kernels.c."""

    _fields_ = fields("input_norm post_norm qkv o gate_up down attention", "size gelu", "input_eps post_eps")


class FusedLayer(nn.Module):
    """A whole decoder layer in one call, of parts that are fused already."""

    def __init__(self, library: ctypes.CDLL, module: Any) -> None:
        super().__init__()
        self._call = library.decode
        self.self_attn, self.mlp = module.self_attn, module.mlp
        self.input_layernorm = module.input_layernorm
        self.post_attention_layernorm = module.post_attention_layernorm
        self.attention_type = getattr(module, "attention_type", None)  # which mask some models look up
        self._cache: CpuCache | None = None
        self._args: DecoderArgs

    def forward(
        self,
        hidden_states: Tensor,
        *,
        position_embeddings: tuple[Tensor, Tensor],
        paged: CpuContext,
        **others: Any,
    ) -> Tensor:
        if self._cache is not paged.cache:
            self._cache, self._args = paged.cache, self._decoder_args(paged.cache)
        hidden_states, output = hidden_states.contiguous(), torch.empty_like(hidden_states)
        cos, sin = (each.contiguous() for each in position_embeddings)
        self._call(
            ctypes.addressof(self._args),
            ctypes.addressof(paged.plan),
            hidden_states.data_ptr(),
            cos.data_ptr(),
            sin.data_ptr(),
            cos.shape[-1],
            output.data_ptr(),
        )
        return output

    def _decoder_args(self, cache: CpuCache) -> DecoderArgs:
        attention, mlp, before, between = self.self_attn, self.mlp, self.input_layernorm, self.post_attention_layernorm
        self._attention_args = attention.layer_args(cache)
        matrices = (attention.qkv_proj, attention.o_proj, mlp.gate_up_proj, mlp.down_proj)
        return DecoderArgs(
            before.weight.data_ptr(),
            between.weight.data_ptr(),
            *(matrix.address for matrix in matrices),
            ctypes.addressof(self._attention_args),
            before.weight.numel(),
            mlp.gelu,
            before.eps,
            between.eps,
        )


FUSED_CHILDREN = {
    "self_attn": FusedAttention,
    "mlp": GatedMlp,
    "input_layernorm": RmsNorm,
    "post_attention_layernorm": RmsNorm,
}


class CpuFusion:
    """Replaces parts of a model whose linear layers are packed; ``joined`` is what packing them returned."""

    def __init__(
        self,
        library: ctypes.CDLL,
        shapes: dict[int, LayerShape],
        joined: dict[nn.Module, dict[str, PackedLinear]],
    ) -> None:
        self._library, self._shapes, self._joined = library, shapes, joined

    def apply(self, model: nn.Module, probe: Callable[[], None]) -> None:
        """From the inside out: an attention takes its norms over, and a layer all its parts."""
        fuse(model, probe, "rotations", _rotation, CLOSE)
        fuse(model, probe, "norms", self._norm, CLOSE)
        fuse(model, probe, "gated layers", self._gated, CLOSE)
        fuse(model, probe, "attentions", self._attention, CLOSE)
        fuse(model, probe, "layers", self._layer, CLOSE)

    def _norm(self, module: Any) -> Iterator[nn.Module]:
        if found := rms_norm(module):
            weight, eps = found
            yield from (RmsNorm(self._library, weight + offset, eps) for offset in (0.0, 1.0))

    def _gated(self, module: Any) -> Iterator[nn.Module]:
        gate_up = self._joined.get(module, {}).get("gate_proj")
        if gate_up is not None and hasattr(module, "down_proj"):
            yield from (GatedMlp(self._library, gate_up, module.down_proj, gelu) for gelu in (False, True))

    def _attention(self, module: Any) -> Iterator[nn.Module]:
        qkv, shape = self._joined.get(module, {}).get("q_proj"), self._shapes.get(getattr(module, "layer_idx", -1))
        if qkv is None or shape is None or not isinstance(getattr(module, "o_proj", None), PackedLinear):
            return
        if plain_attention(module, shape, RmsNorm):
            yield FusedAttention(module, qkv, shape)

    def _layer(self, module: Any) -> Iterator[nn.Module]:
        if {name: type(child) for name, child in module.named_children()} != FUSED_CHILDREN:
            return
        if all(isinstance(matrix, PackedLinear) for matrix in (module.self_attn.o_proj, module.mlp.down_proj)):
            yield FusedLayer(self._library, module)


def _rotation(module: Any) -> Iterator[nn.Module]:
    frequencies, scale = getattr(module, "inv_freq", None), getattr(module, "attention_scaling", None)
    changing = any(word in getattr(module, "rope_type", "") for word in ("dynamic", "longrope"))
    if isinstance(frequencies, Tensor) and isinstance(scale, int | float) and not changing:
        yield Rotation(frequencies, scale)
