"""Runs the model over the chunks of a step and samples the next tokens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from inference.engine.attention import KVCache, LayerShape
from inference.engine.batch import build_batch
from inference.engine.config import EngineConfig
from inference.engine.model import context_limit, inspect_layers, load_model, verify
from inference.engine.packing import pack_linears
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
        self.device = _device(config.device)
        progress(0.0, "Loading the weights")
        self.model = load_model(path, _dtype(config.dtype, self.device, path), self.device)
        pack_linears(self.model)
        progress(0.8, "Checking the attention")
        shapes = inspect_layers(self.model)
        verify(self.model, shapes)
        progress(0.9, "Reserving the KV cache")
        text_config = self.model.config.get_text_config()
        self.vocab_size = int(text_config.vocab_size)
        self.max_model_len = _shorter(config.max_model_len, context_limit(text_config))
        self.cache = self._reserve_cache(config, shapes)
        self.num_blocks = len(next(iter(self.cache.keys.values())))
        self.model_seconds = self.sample_seconds = 0.0

    @torch.inference_mode()
    def execute(self, chunks: list[Chunk]) -> list[int]:
        """The next token of every chunk that ``samples``, in order; -1 where the logits are not finite."""
        began = time.perf_counter()
        batch = build_batch(chunks, self.cache, self.device)
        logits = self.model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            use_cache=False,
            logits_to_keep=batch.logit_rows,
            paged=batch.context,
        ).logits[0]
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

    def _reserve_cache(self, config: EngineConfig, shapes: dict[int, LayerShape]) -> KVCache:
        like = next(self.model.parameters())
        numbers = sum(shape.kv_heads * (shape.key_dim + shape.value_dim) for shape in shapes.values())
        block_bytes = config.block_size * numbers * like.element_size()
        num_blocks = config.num_kv_blocks or self._affordable(config, block_bytes)
        return KVCache(shapes, num_blocks, config.block_size, like)

    def _affordable(self, config: EngineConfig, block_bytes: int) -> int:
        num_blocks = (config.kv_memory_bytes or _memory_share(self.device)) // block_bytes
        if num_blocks < 1:
            raise ValueError(f"kv_memory_bytes must hold at least one block of {block_bytes} bytes")
        if config.kv_memory_bytes is None and self.max_model_len is not None:
            num_blocks = min(num_blocks, config.max_num_seqs * -(-self.max_model_len // config.block_size))
        return num_blocks


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _dtype(name: str, device: torch.device, path: Path) -> torch.dtype:
    if name == "auto":
        # Few CPUs compute in half precision faster than in full, and all are more exact in full.
        return torch.float32 if device.type == "cpu" else _stored_dtype(path)
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"dtype must be auto or the name of a torch dtype, got {name!r}")
    return dtype


def _stored_dtype(path: Path) -> torch.dtype:
    from transformers import AutoConfig

    stored = AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True).dtype
    return stored if isinstance(stored, torch.dtype) else torch.bfloat16


def _memory_share(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * CUDA_SHARE)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * CPU_SHARE)


def _shorter(ours: int | None, models: int | None) -> int | None:
    known = [limit for limit in (ours, models) if limit is not None]
    return min(known, default=None)
