"""The small kernels of a step: keys and values into the cache, RMSNorm, tokens that never left the device."""

from __future__ import annotations

import torch
import triton
from torch import Tensor, nn

from inference.engine.attention import KVCache
from inference.engine.cuda import kernels


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


@torch.inference_mode()
def fuse_norms(model: nn.Module) -> int:
    """Replace the RMSNorms that ``FusedRMSNorm`` computes alike, tried on random numbers; how many."""
    count = 0
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            fused = _fused(norm) if type(norm).__name__.endswith("RMSNorm") else None
            if fused is not None:
                setattr(parent, name, fused)
                count += 1
    return count


def _fused(norm: nn.Module) -> FusedRMSNorm | None:
    weight, epsilon = getattr(norm, "weight", None), getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    if not isinstance(weight, Tensor) or weight.dim() != 1 or not isinstance(epsilon, float):
        return None
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(4, len(weight), generator=generator).to(weight)
    expected = norm(probe)
    for offset in (0, 1):
        fused = FusedRMSNorm(weight, epsilon, offset)
        if torch.allclose(fused(probe), expected, rtol=2 * torch.finfo(weight.dtype).eps, atol=1e-6):
            return fused
    return None


def resolve(token_ids: Tensor, sampled: Tensor) -> None:
    """Replace -1 - k in ``token_ids`` [T], in place, by the k-th of ``sampled``."""
    kernels.resolve[(len(token_ids),)](token_ids, sampled)
