"""The CPU backend: packed weights, fused layers, bfloat16 KV cache, paged cascade attention."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..attention import KVCache, LayerShape
from ..backend import TorchBackend
from ..batch import Batch
from ..model import PROBE_BLOCKS, run_far
from ..sequence import Chunk
from .attention import CpuCache
from .fusion import CpuFusion
from .library import keep_memory
from .linear import fastest, pack_linears, packable, weight_of
from .planning import Planner

LONGEST_HEAD = 256
SHARPNESS = 8.0  # of a probe's attention: random weights attend to everything alike, and would hide what a part lost
TOLERANCE = 0.15  # relative difference of logits that int8 weights explain, in a model with random weights


class CpuBackend(TorchBackend):
    """``weights`` is ``int8``, ``bfloat16``, or ``auto`` for the faster of them on this processor.

    Activations are float32. Attention whose heads the kernels cannot take is computed by torch.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype, weights: str, most_rows: int) -> None:
        super().__init__(torch.device("cpu"), dtype)
        self.weights, self.tolerance = weights, TOLERANCE
        self._library, self._most_rows = library, most_rows
        self._planner = Planner(library)
        keep_memory()

    def adopt(self, model: PreTrainedModel, shapes: dict[int, LayerShape]) -> None:
        if self.weights == "auto":
            self.weights = fastest(self._library, _weights_by_shape(model), (1, self._most_rows))
        joined = pack_linears(self._library, model, self.weights)
        _compute_in_float32(model)
        if _fits_kernels(shapes):
            cache = CpuCache(shapes, PROBE_BLOCKS, SHARPNESS)
            CpuFusion(self._library, shapes, joined).apply(model, lambda: run_far(model, self, cache))

    def token_bytes(self, shapes: dict[int, LayerShape]) -> int:
        numbers = sum(shape.kv_heads * (shape.key_dim + shape.value_dim) for shape in shapes.values())
        return numbers * (2 if _fits_kernels(shapes) else 4)

    def new_cache(self, shapes: dict[int, LayerShape], num_blocks: int, block_size: int) -> KVCache:
        if _fits_kernels(shapes):
            return CpuCache(shapes, num_blocks)
        return KVCache(shapes, num_blocks, block_size, torch.empty(0))

    def build(self, chunks: list[Chunk], cache: Any) -> Batch:
        return self._planner.build(chunks, cache) if isinstance(cache, CpuCache) else super().build(chunks, cache)


def _fits_kernels(shapes: dict[int, LayerShape]) -> bool:
    dims = {(shape.key_dim, shape.value_dim) for shape in shapes.values()}
    return all(key == value and key % 16 == 0 and key <= LONGEST_HEAD for key, value in dims)


def _weights_by_shape(model: nn.Module) -> list[Tensor]:
    """One weight of each shape."""
    weights = [weight_of(module) for module in model.modules() if packable(module)]
    return list({weight.shape: weight for weight in weights}.values())


def _compute_in_float32(model: nn.Module) -> None:
    """Everything but the embeddings, whose rows are widened as they are looked up."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(lambda module, args, output: output.float())
            continue
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.float()
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point():
                setattr(module, name, buffer.float())
