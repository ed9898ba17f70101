"""The operations by Triton kernels, and decode steps as CUDA graphs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor

from ...errors import UnsupportedModel
from ..attention import Attending, AttentionContext, LayerShape
from ..batch import Batch
from ..config import EngineConfig
from ..ops import Layer, Linear, Model, Norm, Ops, Rotation
from ..sequence import Chunk
from . import EXPERIMENTAL, attention, elementwise, kernels
from .attention import Chunks, Decodes
from .graphs import DecodeGraph, DecodeGraphs
from .quantize import QUANTIZED, quantized, require
from .staging import ALIGNMENT, Arrays, PagedCache, arrange, no_arrays, pad_decodes

logger = logging.getLogger(__name__)

WIDEST_HEAD = 256
FEWEST_TOKENS = 128  # room for the steps that check a model that is loaded
GATES = {"silu": False, "gelu_tanh": True}  # whether the kernel computes GELU


@dataclass(frozen=True, slots=True)
class StepContext:
    """One step's attention."""

    cache: PagedCache
    slots: Tensor
    decodes: Decodes
    chunks: Chunks

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: Attending) -> Tensor:
        query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, key, value))
        elementwise.write(self.cache, layer, self.slots, key, value)
        return self.attend_cached(layer, query, how)

    def attend_cached(self, layer: int, query: Tensor, how: Attending) -> Tensor:
        """``attend`` where the step's keys and values are in the cache already."""
        cached = self.cache.keys[layer], self.cache.values[layer]
        output = query.new_empty(*query.shape[:2], cached[1].shape[-1])
        if len(self.decodes.rows):
            attention.decode(query, *cached, output, self.decodes, how)
        if len(self.chunks.rows):
            attention.chunks(query, *cached, output, self.chunks, how)
        return output


@dataclass(frozen=True, slots=True)
class RecordedBatch(Batch):
    """A step that ``recorded`` computes, once the batch's integers are on the device."""

    recorded: DecodeGraph


class CudaOps(Ops):
    """All calls must be made with the same stream current: buffers are reused in the stream's order."""

    queues = True

    def __init__(self, config: EngineConfig, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(device, dtype)
        _say_experimental()
        self._config = config
        self._most_tokens = max(config.max_batched_tokens, FEWEST_TOKENS)
        self._limit: int | None = config.max_model_len
        self._graphs = DecodeGraphs()
        self._sampled = torch.zeros(config.max_num_seqs, dtype=torch.int64, device=device)
        if config.weights in QUANTIZED:
            require(config.weights, device, dtype)
            self.tolerance = self.layer_tolerance = QUANTIZED[config.weights]

    @property
    def description(self) -> str:
        weights = self._config.weights if self._config.weights in QUANTIZED else str(self.dtype).removeprefix("torch.")
        return f"our CUDA kernels, weights in {weights}"

    def begin(self, shapes: Sequence[tuple[int, int]], context_limit: int | None) -> None:
        self._limit = min(filter(None, (self._config.max_model_len, context_limit)), default=None)

    def linear(self, weights: Sequence[Tensor], bias: Tensor | None = None) -> Linear:
        if self._config.weights not in QUANTIZED:
            return super().linear(weights, bias)
        return quantized(self.joined(weights), None if bias is None else self.moved(bias), self._config.weights)

    def replaces(self, weight: Tensor, output: bool) -> bool:
        return self._config.weights in QUANTIZED and not output

    def loaded(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # what loading held, for the KV cache

    def norm(self, x: Tensor, norm: Norm | None) -> Tensor:
        return x if norm is None else elementwise.normalize(x, norm)

    def attend(self, layer: Layer, qkv: Tensor, rotation: Rotation | None, context: AttentionContext) -> Tensor:
        if not isinstance(context, StepContext) or layer.norms_whole_rows:
            return super().attend(layer, qkv, rotation, context)
        query = elementwise.prepare(layer, qkv, rotation, context.cache, context.slots)
        return context.attend_cached(layer.index, query, layer.shape.how).flatten(1)

    def gate(self, both: Tensor, activation: str) -> Tensor:
        if activation not in GATES:
            return super().gate(both, activation)
        size = both.shape[-1] // 2
        inner = both.new_empty(len(both), size)
        kernels.gate[(triton.cdiv(size, 1024), len(both))](both, inner, size, GELU=GATES[activation])
        return inner

    def new_cache(self, shapes: dict[int, LayerShape], num_blocks: int, block_size: int) -> PagedCache:
        widest = max(max(shape.key_dim, shape.value_dim) for shape in shapes.values())
        if widest > WIDEST_HEAD:
            raise UnsupportedModel(f"The model has heads of {widest}; the kernels take {WIDEST_HEAD}.")
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        longest = min(num_blocks, -(-self._limit // block_size) + 1) if self._limit else num_blocks
        capacity = len(Arrays._fields) * (self._most_tokens + ALIGNMENT) + self._config.max_num_seqs * longest
        return PagedCache(shapes, num_blocks, block_size, like, capacity)

    def warm_up(self, model: Model, cache: Any) -> None:
        if self.device.type == "cuda":
            most = self._config.max_num_seqs
            self._graphs.record(most, lambda size: self.padded([], cache, size), lambda batch: self._run(model, batch))

    def build(self, chunks: list[Chunk], cache: Any) -> Batch:
        graph = self._graphs.fitting(len(chunks)) if all(c.length == 1 and c.samples for c in chunks) else None
        if graph is None:
            return _send(arrange(chunks, cache.block_size), cache)
        batch = self.padded(chunks, cache, len(graph.batch.logit_rows))
        rows = batch.logit_rows[: len(chunks)]
        return RecordedBatch(batch.token_ids, batch.positions, rows, batch.context, graph)

    def padded(self, chunks: list[Chunk], cache: PagedCache, size: int) -> Batch:
        """Decodes with padding to ``size`` rows; their tensors lie where those of any other of that size lay."""
        arrays = arrange(chunks, cache.block_size) if chunks else no_arrays()
        return _send(pad_decodes(arrays, size, cache.scratch_block, cache.block_size), cache)

    def forward(self, model: Model, batch: Batch) -> Tensor:
        if not isinstance(batch, RecordedBatch):
            return self._run(model, batch)
        batch.recorded.graph.replay()
        return batch.recorded.logits[: len(batch.logit_rows)]

    def carry(self, token_ids: Tensor) -> None:
        torch.clamp(token_ids, min=0, out=self._sampled[: len(token_ids)])

    def resolve(self, batch: Batch) -> None:
        elementwise.resolve(batch.token_ids, self._sampled)

    def _run(self, model: Model, batch: Batch) -> Tensor:
        self.resolve(batch)
        return model.forward(batch)


@cache
def _say_experimental() -> None:
    """Once in a process."""
    logger.warning(EXPERIMENTAL)


def _send(arrays: Arrays, cache: PagedCache) -> Batch:
    cache.staging.send(arrays)
    token_ids, positions, slots, logit_rows, *others = cache.staging.views(arrays)
    rows, lengths, tables_at, *chunked = others
    context = StepContext(cache, slots, Decodes(rows, lengths, tables_at, others[-1]), Chunks(*chunked))
    return Batch(token_ids, positions, logit_rows, context)
