"""Runs the model over the chunks of a step and samples the next tokens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from inference.engine.attention import LayerShape
from inference.engine.backend import Cache, choose_backend
from inference.engine.config import EngineConfig
from inference.engine.model import context_limit, inspect_layers, load_model, verify
from inference.engine.sampler import sample
from inference.engine.sequence import Chunk

CPU_SHARE, CUDA_SHARE = 0.25, 0.9  # of physical memory; of what is free once the weights are loaded


class ModelRunner:
    """Owns the weights and the KV cache. ``model_seconds`` and ``sample_seconds`` only grow.

    Raises ``UnsupportedModel`` when the model cannot be served rightly.
    """

    def __init__(self, path: Path, config: EngineConfig, progress: Callable[[float, str], None]) -> None:
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        self.backend = choose_backend(config, path)
        progress(0.0, "Loading the weights")
        self.model = load_model(path, self.backend.dtype, self.backend.device)
        progress(0.8, "Checking the attention")
        shapes = inspect_layers(self.model)
        verify(self.model, shapes, self.backend)
        progress(0.9, "Reserving the KV cache")
        text_config = self.model.config.get_text_config()
        self.vocab_size = int(text_config.vocab_size)
        self.max_model_len = _shorter(config.max_model_len, context_limit(text_config))
        self.cache = self._reserve_cache(config, shapes)
        with torch.inference_mode():
            self.backend.warm_up(self.model, self.cache)
        self.model_seconds = self.sample_seconds = 0.0

    @torch.inference_mode()
    def execute(self, chunks: list[Chunk]) -> list[int]:
        """The next token of every chunk that ``samples``, in order; -1 where the logits are not finite."""
        began = time.perf_counter()
        logits = self.backend.forward(self.model, self.backend.build(chunks, self.cache))
        computed = time.perf_counter()
        seqs = [chunk.sequence for chunk in chunks if chunk.samples]
        token_ids = sample(logits, seqs) if seqs else []
        self.model_seconds += computed - began
        self.sample_seconds += time.perf_counter() - computed
        return token_ids

    @torch.inference_mode()
    def wipe(self, block_ids: list[int]) -> None:
        """Zero blocks that may hold values that are not finite, before another sequence gets them."""
        self.cache.wipe(block_ids)

    def _reserve_cache(self, config: EngineConfig, shapes: dict[int, LayerShape]) -> Cache:
        block_bytes = config.block_size * self.backend.token_bytes(shapes)
        num_blocks = config.num_kv_blocks or self._affordable(config, block_bytes)
        cache: Cache = self.backend.new_cache(shapes, num_blocks, config.block_size)
        return cache

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


def _memory_share(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * CUDA_SHARE)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * CPU_SHARE)


def _shorter(ours: int | None, models: int | None) -> int | None:
    known = [limit for limit in (ours, models) if limit is not None]
    return min(known, default=None)
