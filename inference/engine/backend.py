"""What differs from one device to another, behind one interface.

``TorchBackend`` is plain torch on any device, and the reference that the others, which inherit from it, are
tested against.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .attention import KVCache, LayerShape
from .batch import Batch, build_batch
from .config import EngineConfig
from .packing import pack_linears
from .sequence import Chunk

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}  # relative; half precision has its own below
HALF_TOLERANCE = 0.1
KERNEL_BLOCK = 16  # tokens of a block, the only size the CPU kernels know


class TorchBackend:
    """Plain torch. On a CPU in float32, large linear layers are packed for oneDNN.

    dtype: in which the weights are loaded. tolerance: relative difference of logits that its arithmetic explains.
    queues: a forward may return before it is computed, which the device does meanwhile, in order.
    """

    queues = False

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.tolerance = TOLERANCE.get(dtype, HALF_TOLERANCE)
        self._carried: Tensor | None = None

    def adopt(self, model: PreTrainedModel, shapes: dict[int, LayerShape]) -> None:
        """Replace modules by faster ones that compute the same; called once."""
        pack_linears(model)

    def token_bytes(self, shapes: dict[int, LayerShape]) -> int:
        """Bytes that one token takes in the KV cache."""
        numbers = sum(shape.kv_heads * (shape.key_dim + shape.value_dim) for shape in shapes.values())
        return numbers * self.dtype.itemsize

    def new_cache(self, shapes: dict[int, LayerShape], num_blocks: int, block_size: int) -> KVCache:
        """Of zeros."""
        return KVCache(shapes, num_blocks, block_size, torch.empty(0, dtype=self.dtype, device=self.device))

    def warm_up(self, model: PreTrainedModel, cache: Any) -> None:
        """Do once, last at load, what the first steps would otherwise wait for."""

    def build(self, chunks: list[Chunk], cache: Any) -> Batch:
        """A step's chunks as tensors."""
        return build_batch(chunks, cache, self.device)

    def forward(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Logits [rows of ``batch.logit_rows``, vocabulary], good until the next forward."""
        if self._carried is not None:
            unknown = batch.input_ids < 0
            batch.input_ids[unknown] = self._carried[-1 - batch.input_ids[unknown]]
        return run_model(model, batch)

    def carry(self, token_ids: Tensor) -> None:
        """Keep the tokens [S] just drawn for the next forward, whose batch was built before the host saw them: there
        -1 - k stands for the k-th.
        """
        self._carried = token_ids.clamp(min=0)


def run_model(model: Any, batch: Batch) -> Tensor:
    logits: Tensor = model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        use_cache=False,
        logits_to_keep=batch.logit_rows,
        paged=batch.context,
    ).logits[0]
    return logits


def choose_backend(config: EngineConfig, path: Path) -> TorchBackend:
    """Raises ``ValueError`` when the configuration asks for what this machine does not have."""
    device = torch.device(config.device if config.device != "auto" else _best_device())
    wanted = config.dtype == "auto" and config.weights in ("auto", "bfloat16", "int8")
    if device.type == "cpu" and wanted and config.block_size == KERNEL_BLOCK:
        from .cpu.backend import CpuBackend
        from .cpu.library import load

        if (library := load()) is not None:
            return CpuBackend(library, _stored_dtype(path), config.weights, config.max_num_seqs)
    if device.type == "cuda" and config.weights != "int8":
        from .cuda.backend import CudaBackend
        from .cuda.quantize import QUANTIZED

        dtype = torch.bfloat16 if config.weights in QUANTIZED else _dtype(config, device, path)
        return CudaBackend(config, device, dtype)
    if config.weights in ("fp8", "int4"):
        raise ValueError(f"weights in {config.weights} need a CUDA device")
    if config.weights == "int8":
        raise ValueError("weights in int8 need the CPU kernels: a processor with AVX2, and a compiler")
    return TorchBackend(device, _dtype(config, device, path))


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _dtype(config: EngineConfig, device: torch.device, path: Path) -> torch.dtype:
    name = config.weights if config.dtype == "auto" else config.dtype
    if name == "auto":
        # Through torch alone, few CPUs compute in half precision faster than in full.
        return torch.float32 if device.type == "cpu" else _stored_dtype(path)
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"dtype must be auto or the name of a torch dtype, got {name!r}")
    return dtype


def _stored_dtype(path: Path) -> torch.dtype:
    """In which the weights lie in their files; half precision of 8 exponent bits where they do not say."""
    from transformers import AutoConfig

    stored = AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True).dtype
    return stored if isinstance(stored, torch.dtype) else torch.bfloat16
