"""Weights in 8 or 4 bits, through torchao."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ...errors import UnsupportedModel

# Relative difference of logits that rounding the weights may explain, in a model with random weights.
QUANTIZED = {"fp8": 0.2, "int4": 0.5}
GROUP = 128  # weights that share a scale, in int4


def require(weights: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raises ``ValueError`` unless weights can be rounded here."""
    if find_spec("torchao") is None:
        raise ValueError(f"weights {weights!r} need the package torchao")
    if device.type != "cuda" or dtype != torch.bfloat16:
        raise ValueError(f"weights {weights!r} need bfloat16 on a CUDA device, not {dtype} on {device.type}")


def quantize(model: PreTrainedModel, weights: str) -> None:
    """Round the linear layers' weights, in place; the output layer keeps its own.

    Raises ``UnsupportedModel`` when the model has no layers to round.
    """
    from torchao.quantization import quantize_

    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    chosen = {id(module) for module in model.modules() if module is not head and _fits(module, weights)}
    if not chosen:
        raise UnsupportedModel(f"{type(model).__name__} has no linear layers that {weights} takes.")
    quantize_(model, _recipe(weights), filter_fn=lambda module, name: id(module) in chosen)


def _recipe(weights: str) -> Any:
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, Int4WeightOnlyConfig, PerRow

    if weights == "fp8":
        return Float8DynamicActivationFloat8WeightConfig(granularity=PerRow(), set_inductor_config=False)
    return Int4WeightOnlyConfig(group_size=GROUP, int4_packing_format="tile_packed_to_4d", set_inductor_config=False)


def _fits(module: nn.Module, weights: str) -> bool:
    multiple = GROUP if weights == "int4" else 16
    return type(module) is nn.Linear and module.in_features % multiple == 0 and module.out_features % 16 == 0
