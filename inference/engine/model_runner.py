"""Chooses model and operations, runs the model over the chunks of a step and samples the next tokens.

A step is launched, and later its tokens are collected: an NVIDIA device computes by itself meanwhile.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from .attention import KVCache, LayerShape
from .config import EngineConfig
from .loader import read_json
from .models.checking import KernelMismatch
from .models.decoder import Decoder, check_tensors
from .models.families import read_config
from .models.rope import NotKnown
from .models.tensors import Tensors
from .ops import Model, Ops
from .outputs import TokenLogprobs
from .sampler import Drawn, Sampler
from .sequence import Chunk

logger = logging.getLogger(__name__)

CPU_SHARE, CUDA_SHARE = 0.25, 0.9  # of physical memory; of what is free once the weights are loaded
KERNEL_BLOCK = 16  # tokens of a block, the only size the CPU kernels know

Progress = Callable[[float, str], None]


class ModelRunner:
    """Owns the weights and the KV cache. ``model_seconds`` and ``sample_seconds`` only grow.

    Raises ``UnsupportedModel`` when the model cannot be served rightly.
    """

    def __init__(self, path: Path, config: EngineConfig, progress: Progress) -> None:
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        progress(0.0, "Loading the weights")
        self.backend, self.model = load_model(path, config, progress)
        progress(0.9, "Reserving the KV cache")
        self.vocab_size = self.model.vocab_size
        self.max_model_len = min(filter(None, (config.max_model_len, self.model.context_limit)), default=None)
        self.cache = self._reserve_cache(config, self.model.shapes)
        with torch.inference_mode():
            self.backend.warm_up(self.model, self.cache)
        self.model_seconds = self.sample_seconds = 0.0
        self._sampler = Sampler(self.vocab_size, self.backend.device)
        self.overlaps = self.backend.queues if config.overlap == "auto" else config.overlap

    def launch(self, chunks: list[Chunk]) -> Drawn | Exception:
        """Start computing a step, after those launched before. Whatever goes wrong is for ``collect`` to raise."""
        try:
            return self._compute(chunks)
        except Exception as error:  # whatever a model raises must not end the loop
            return error

    def collect(self, step: Drawn | Exception) -> tuple[list[int], dict[int, TokenLogprobs]]:
        """The next token of every chunk that sampled, in order, -1 where the logits are not finite; and the log
        probabilities that were asked for, by place in that order.
        """
        if isinstance(step, Exception):
            raise step
        began = time.perf_counter()
        found = step.read()
        self.model_seconds += time.perf_counter() - began
        return found

    @torch.inference_mode()
    def wipe(self, block_ids: list[int]) -> None:
        """Zero blocks that may hold values that are not finite, before another sequence gets them."""
        self.cache.wipe(block_ids)

    @torch.inference_mode()
    def _compute(self, chunks: list[Chunk]) -> Drawn:
        sampling = self._sampler.prepare([chunk.sequence for chunk in chunks if chunk.samples])
        batch = self.backend.build(chunks, self.cache)
        began = time.perf_counter()
        logits = self.backend.forward(self.model, batch)
        computed = time.perf_counter()
        drawn = sampling.draw(logits)
        if self.overlaps:
            self.backend.carry(drawn.token_ids)
        self.model_seconds += computed - began
        self.sample_seconds += time.perf_counter() - computed
        return drawn

    def _reserve_cache(self, config: EngineConfig, shapes: dict[int, LayerShape]) -> KVCache:
        block_bytes = config.block_size * self.backend.token_bytes(shapes)
        num_blocks = config.num_kv_blocks or self._affordable(config, block_bytes)
        return self.backend.new_cache(shapes, num_blocks, config.block_size)

    def _affordable(self, config: EngineConfig, block_bytes: int) -> int:
        num_blocks = (config.kv_memory_bytes or _memory_share(self.backend.device)) // block_bytes
        if num_blocks < 1:
            raise ValueError(f"kv_memory_bytes must hold at least one block of {block_bytes} bytes")
        if config.kv_memory_bytes is None and self.max_model_len is not None:
            num_blocks = min(num_blocks, config.max_num_seqs * -(-self.max_model_len // config.block_size))
        return num_blocks


def is_out_of_memory(error: Exception) -> bool:
    """torch has an error of its own for an accelerator's memory, and only a sentence for the machine's."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def load_model(path: Path, config: EngineConfig, progress: Progress) -> tuple[Ops, Model]:
    """On the fastest operations that this machine has and that compute what the reference does."""
    ops = choose_ops(config, path)
    try:
        return ops, load_with(ops, path, progress)
    except KernelMismatch as mismatch:
        logger.warning("%s; the engine runs without these kernels, several times slower", mismatch)
        ops = Ops(ops.device, _dtype(config, ops.device, path))
        return ops, load_with(ops, path, progress)


@torch.inference_mode()
def load_with(ops: Ops, path: Path, progress: Progress = lambda share, detail: None) -> Model:
    """The decoder of our own where it knows the model, else transformers' own code."""
    try:
        flags = read_config(read_json(path / "config.json"))
        check_tensors(flags, tensors := Tensors(path))
    except NotKnown as reason:
        logger.info("%s is computed by transformers, not by our decoder: %s", path.name, reason)
        from .models.hf import HfModel  # transformers' modelling code takes 150 MB

        return HfModel(path, ops)
    return Decoder(flags, tensors, ops, lambda share: progress(0.9 * share, "Loading the weights"))


def choose_ops(config: EngineConfig, path: Path) -> Ops:
    """Raises ``ValueError`` when the configuration asks for what this machine does not have."""
    device = torch.device(config.device if config.device != "auto" else _best_device())
    wanted = config.dtype == "auto" and config.weights in ("auto", "bfloat16", "int8")
    if device.type == "cpu" and wanted and config.block_size == KERNEL_BLOCK:
        from .cpu.backend import CpuOps
        from .cpu.library import load

        if (library := load()) is not None:
            return CpuOps(library, _stored_dtype(path), config.weights, config.max_num_seqs)
    if device.type == "cuda" and config.weights != "int8":
        if device.index is not None:
            torch.cuda.set_device(device)  # Triton launches on the current one
        if (found := _cuda_ops(config, device, path)) is not None:
            return found
    if config.weights in ("fp8", "int4"):
        raise ValueError(f"weights in {config.weights} need a CUDA device")
    if config.weights == "int8":
        raise ValueError("weights in int8 need the CPU kernels: a processor with AVX2, and a compiler")
    return Ops(device, _dtype(config, device, path))


def _cuda_ops(config: EngineConfig, device: torch.device, path: Path) -> Ops | None:
    """``None`` where their compiler is missing."""
    try:
        from .cuda.backend import CudaOps
        from .cuda.quantize import QUANTIZED
    except ImportError as error:
        logger.warning("plain torch computes the model, since the CUDA kernels cannot be imported: %s", error)
        return None
    dtype = torch.bfloat16 if config.weights in QUANTIZED else _dtype(config, device, path)
    return CudaOps(config, device, dtype)


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _dtype(config: EngineConfig, device: torch.device, path: Path) -> torch.dtype:
    name = config.weights if config.dtype == "auto" else config.dtype
    if name not in ("auto", "int8"):
        dtype = getattr(torch, name, None)
        if not isinstance(dtype, torch.dtype):
            raise ValueError(f"dtype must be auto or the name of a torch dtype, got {name!r}")
        return dtype
    # Through torch alone, few CPUs compute in half precision faster than in full.
    return torch.float32 if device.type == "cpu" else _stored_dtype(path)


def _stored_dtype(path: Path) -> torch.dtype:
    """In which the weights lie in their files; half precision of 8 exponent bits where they do not say."""
    config = read_json(path / "config.json")
    for part in (config, config.get("text_config") or {}):
        stored = getattr(torch, str(part.get("dtype") or part.get("torch_dtype")), None)
        if isinstance(stored, torch.dtype):
            return stored
    return torch.bfloat16


def _memory_share(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * CUDA_SHARE)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * CPU_SHARE)
