"""The usual attention and feed-forward modules as ones that launch a third of the kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
from torch import Tensor, nn

from ..attention import LayerShape
from ..fusing import fuse, plain_attention
from . import kernels
from .elementwise import FusedRMSNorm, norms

CLOSE = {torch.float32: 1e-4}  # relative difference that another order of rounding explains
HALF_CLOSE = 2e-2


class FusedAttention(nn.Module):
    """Queries, keys and values by one product; normalised, rotated and cached by one kernel."""

    def __init__(self, module: Any, shape: LayerShape) -> None:
        super().__init__()
        self.layer_idx, self.o_proj = module.layer_idx, module.o_proj
        self.qkv_proj = _joined([module.q_proj, module.k_proj, module.v_proj])
        self.q_norm, self.k_norm = getattr(module, "q_norm", None), getattr(module, "k_norm", None)
        self._shape = shape
        self._heads = module.q_proj.out_features // shape.key_dim
        self._epsilon: float = self.q_norm.epsilon if self.q_norm else 0.0
        self._offset: int | None = self.q_norm.offset if self.q_norm else None

    def forward(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], *, paged: Any, **others: Any
    ) -> tuple[Tensor, None]:
        """``hidden_states`` [1, T, size], cosines and sines [1, T, rotary] -> [1, T, size], and no weights."""
        qkv, dim = self.qkv_proj(hidden_states)[0], self._shape.key_dim
        cos, sin = (each.contiguous() for each in position_embeddings)
        query = qkv.new_empty(len(qkv), self._heads, dim)
        query_norm, key_norm = (norm.weight if norm else qkv for norm in (self.q_norm, self.k_norm))
        kernels.prepare[(len(qkv), self._heads + 2 * self._shape.kv_heads)](
            qkv, cos, sin, query_norm, key_norm, query, paged.cache.keys[self.layer_idx],
            paged.cache.values[self.layer_idx], paged.slots, self._epsilon,
            HEADS=self._heads, KV_HEADS=self._shape.kv_heads, DIM=dim, PAD=triton.next_power_of_2(dim),
            ROTARY=cos.shape[-1], OFFSET=self._offset, num_warps=1,
        )  # fmt: skip
        output: Tensor = paged.attend_cached(self.layer_idx, query, self._shape.how)
        return self.o_proj(output.flatten(1).unsqueeze(0)), None


class FusedMlp(nn.Module):
    """``down(activation(gate(x)) * up(x))`` with gate and up as one product."""

    def __init__(self, module: Any, gelu: bool) -> None:
        super().__init__()
        self.gate_up_proj, self.down_proj = _joined([module.gate_proj, module.up_proj]), module.down_proj
        self._gelu = gelu

    def forward(self, inputs: Tensor) -> Tensor:
        both = self.gate_up_proj(inputs)
        size = both.shape[-1] // 2
        inner = both.new_empty(*both.shape[:-1], size)
        kernels.gate[(triton.cdiv(size, 1024), both.numel() // (2 * size))](both, inner, size, GELU=self._gelu)
        output: Tensor = self.down_proj(inner)
        return output


def fuse_layers(model: nn.Module, shapes: dict[int, LayerShape], probe: Callable[[], None]) -> None:
    """Replace what can be; ``probe`` as for ``fuse``."""
    dtype = next(model.parameters()).dtype
    close = CLOSE.get(dtype, HALF_CLOSE)
    fuse(model, probe, "norms", norms, 1e-5 if dtype == torch.float32 else 4 * torch.finfo(dtype).eps)
    fuse(model, probe, "gated layers", _gated, close)
    fuse(model, probe, "attentions", lambda module: _attention(module, shapes), close)


def _gated(module: Any) -> Iterator[nn.Module]:
    if _has_linear(module, "gate_proj", "up_proj", "down_proj"):
        yield from (FusedMlp(module, gelu) for gelu in (False, True))


def _has_linear(module: Any, *names: str) -> bool:
    return all(type(getattr(module, name, None)) is nn.Linear for name in names)


def _attention(module: Any, shapes: dict[int, LayerShape]) -> Iterator[nn.Module]:
    if not _has_linear(module, "q_proj", "k_proj", "v_proj", "o_proj"):
        return
    norms = [getattr(module, name, None) for name in ("q_norm", "k_norm")]
    alike = len({(n.epsilon, n.offset) for n in norms if isinstance(n, FusedRMSNorm)}) <= 1
    if alike and plain_attention(module, shapes[module.layer_idx], FusedRMSNorm):
        yield FusedAttention(module, shapes[module.layer_idx])


def _joined(linears: list[nn.Linear]) -> nn.Linear:
    """One layer whose output is theirs, side by side."""
    rows, like = sum(linear.out_features for linear in linears), linears[0]
    biases: list[Tensor] = [
        like.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias for linear in linears
    ]
    joined = nn.Linear(like.in_features, rows, any(linear.bias is not None for linear in linears), device="meta")
    joined.weight = nn.Parameter(torch.cat([linear.weight for linear in linears]), requires_grad=False)
    if joined.bias is not None:
        joined.bias = nn.Parameter(torch.cat(biases), requires_grad=False)
    return joined
