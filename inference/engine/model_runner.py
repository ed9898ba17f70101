"""Runs the model over the chunks of a step and samples the next tokens.

A step is launched, and later its tokens are collected: an NVIDIA device computes by itself meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from .attention import KVCache, LayerShape
from .backend import choose_backend
from .config import EngineConfig
from .model import context_limit, inspect_layers, load_model, verify
from .outputs import TokenLogprobs
from .sampler import Drawn, Sampler
from .sequence import Chunk

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
        self.max_model_len = min(filter(None, (config.max_model_len, context_limit(text_config))), default=None)
        self.cache = self._reserve_cache(config, shapes)
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


def _memory_share(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * CUDA_SHARE)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * CPU_SHARE)
