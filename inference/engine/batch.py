"""A step's chunks as the tensors of one packed forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from inference.engine.attention import AttentionContext, Group, KVCache, PagedContext
from inference.engine.sequence import Chunk

Ints = npt.NDArray[np.int64]

SHORTEST_BUCKET = 256  # keys; below it a call costs more than the padding it would spare


@dataclass(frozen=True, slots=True)
class Batch:
    """``input_ids`` and ``position_ids`` [1, T]; ``logit_rows`` the rows whose next token is sampled."""

    input_ids: Tensor
    position_ids: Tensor
    logit_rows: Tensor
    context: AttentionContext


def build_batch(chunks: list[Chunk], cache: KVCache, device: torch.device) -> Batch:
    layout = _Layout(chunks, cache.block_size)
    groups = [layout.group(members, device) for members in layout.similar()]

    def tensor(values: Ints) -> Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    last_rows = layout.first_rows + layout.lengths - 1
    return Batch(
        input_ids=tensor(_token_ids(chunks)).unsqueeze(0),
        position_ids=tensor(layout.positions).unsqueeze(0),
        logit_rows=tensor(last_rows[[chunk.samples for chunk in chunks]]),
        context=PagedContext(cache, tensor(layout.slots), groups),
    )


def _token_ids(chunks: list[Chunk]) -> Ints:
    slices = [chunk.sequence.token_ids[chunk.start : chunk.end] for chunk in chunks]
    return np.concatenate(slices).astype(np.int64)


class _Layout:
    """Where each chunk lies in the packed batch, in its sequence and in the cache."""

    def __init__(self, chunks: list[Chunk], block_size: int) -> None:
        self.block_size = block_size
        self.starts: Ints = np.array([chunk.start for chunk in chunks])
        self.lengths: Ints = np.array([chunk.length for chunk in chunks])
        self.ends: Ints = self.starts + self.lengths
        self.first_rows: Ints = np.cumsum(self.lengths) - self.lengths
        self.tables = _pad_tables(chunks)
        owner = np.repeat(np.arange(len(chunks)), self.lengths)
        self.positions: Ints = np.arange(len(owner)) - (self.first_rows - self.starts)[owner]
        block_ids = self.tables[owner, self.positions // block_size]
        self.slots: Ints = block_ids * block_size + self.positions % block_size

    def similar(self) -> Iterator[Ints]:
        """Chunk numbers, grouped so that padding at most doubles queries and keys."""
        queries = _power_of_two(self.lengths)
        keys = np.maximum(_power_of_two(self.ends), SHORTEST_BUCKET)
        shapes = queries * (1 << 32) + keys
        for shape in np.unique(shapes):
            yield np.flatnonzero(shapes == shape)

    def group(self, members: Ints, device: torch.device) -> Group:
        lengths, ends = self.lengths[members], self.ends[members]
        queries, keys = int(lengths.max()), int(ends.max())
        offsets = np.minimum(np.arange(queries), lengths[:, None] - 1)
        rows = (self.first_rows[members, None] + offsets).ravel()
        whole = len(rows) == len(self.positions) and len(members) == len(self.lengths)
        num_blocks = -(-keys // self.block_size)

        def tensor(values: Ints) -> Tensor:
            return torch.from_numpy(values).to(device, non_blocking=True)

        return Group(
            rows=None if whole else tensor(rows),
            positions=tensor(self.starts[members, None] + offsets),
            block_ids=tensor(self.tables[members, :num_blocks].ravel()),
            key_length=keys,
            aligned=bool((ends == keys).all() and ((lengths == 1).all() or (lengths == keys).all())),
        )


def _pad_tables(chunks: list[Chunk]) -> Ints:
    """[chunks, most blocks]; a short table goes on with its own last block, hidden by the mask.

    Its own, because a hidden value has weight zero and zero times another sequence's NaN would be NaN.
    """
    tables = [chunk.sequence.block_table for chunk in chunks]
    padded = np.zeros((len(tables), max(map(len, tables))), dtype=np.int64)
    for row, table in zip(padded, tables, strict=True):
        row[: len(table)] = table
        row[len(table) :] = table[-1]
    return padded


def _power_of_two(values: Ints) -> Ints:
    """The smallest power of two that is not below each value."""
    result: Ints = 2 ** np.ceil(np.log2(values)).astype(np.int64)
    return result
