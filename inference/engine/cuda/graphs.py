"""Decode steps recorded as CUDA graphs: one launch each, instead of hundreds from Python."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DecodeGraph:
    """A recorded step. ``logits`` is overwritten by the next replay of any graph of the same ``DecodeGraphs``."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    logits: Tensor


class DecodeGraphs:
    """Graphs by batch size, empty until ``record``."""

    def __init__(self) -> None:
        self._graphs: list[DecodeGraph] = []
        self._sizes: list[int] = []

    def record(self, most: int, prepare: Callable[[int], Batch], run: Callable[[Batch], Tensor]) -> None:
        """Record ``run(prepare(size))`` for the sizes up to ``most``; ``prepare`` must give the same addresses
        whenever it is called. A model that waits for the device cannot be recorded, and runs without graphs.
        """
        try:
            pool = torch.cuda.graph_pool_handle()
            # From the largest down: what the first takes from the pool is enough for the others.
            graphs = [_record(prepare(size), run, pool) for size in reversed(sizes_up_to(most))]
        except Exception as error:  # whatever a recording raises must not cost the model
            logger.warning("decode steps run without CUDA graphs, since they cannot be recorded: %s", error)
            return
        self._graphs, self._sizes = graphs[::-1], sizes_up_to(most)

    def fitting(self, count: int) -> DecodeGraph | None:
        """The smallest that holds ``count`` sequences."""
        place = bisect_left(self._sizes, count)
        return self._graphs[place] if place < len(self._graphs) else None


def _record(batch: Batch, run: Callable[[Batch], Tensor], pool: Any) -> DecodeGraph:
    run(batch)  # compiles kernels and fills caches, which a recording must not
    graph = torch.cuda.CUDAGraph()
    # Other threads of the process may use the device meanwhile.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        logits = run(batch)
    return DecodeGraph(graph, batch, logits)


def sizes_up_to(most: int) -> list[int]:
    """1, 2, 4, 8, the multiples of 16, and ``most`` itself."""
    return [size for size in (1, 2, 4, 8, *range(16, most, 16)) if size < most] + [most]
