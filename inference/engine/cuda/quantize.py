"""Weights in 8 or 4 bits, through torchao."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

# Relative difference of logits that rounding the weights may explain, in a model with random weights.
QUANTIZED = {"fp8": 0.2, "int4": 0.5}
GROUP = 128  # weights that share a scale, in int4


def require(weights: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raises ``ValueError`` unless weights can be rounded here."""
    if find_spec("torchao") is None:
        raise ValueError(f"weights {weights!r} need the package torchao")
    if device.type != "cuda" or dtype != torch.bfloat16:
        raise ValueError(f"weights {weights!r} need bfloat16 on a CUDA device, not {dtype} on {device.type}")


def quantized(weight: Tensor, bias: Tensor | None, weights: str) -> nn.Linear:
    """A layer of ``weight`` [out, in] in fewer bits, or as it is where its sides do not divide."""
    out_features, in_features = weight.shape
    linear = nn.Linear(in_features, out_features, bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    linear.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)  # type: ignore[assignment]
    multiple = GROUP if weights == "int4" else 16
    if in_features % multiple or out_features % 16:
        return linear
    from torchao.quantization import quantize_

    quantize_(holder := nn.Sequential(linear), _recipe(weights))
    rounded: nn.Linear = holder[0]  # type: ignore[assignment]
    return rounded


def _recipe(weights: str) -> Any:
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, Int4WeightOnlyConfig, PerRow

    if weights == "fp8":
        return Float8DynamicActivationFloat8WeightConfig(granularity=PerRow(), set_inductor_config=False)
    return Int4WeightOnlyConfig(group_size=GROUP, int4_packing_format="tile_packed_to_4d", set_inductor_config=False)
