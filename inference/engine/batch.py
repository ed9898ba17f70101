"""A step's chunks as the tensors of one packed forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .attention import AttentionContext, Group, KVCache, PagedContext
from .sequence import Chunk

Ints = npt.NDArray[np.int64]

SHORTEST_BUCKET = 256  # keys; below it a call costs more than the padding it would spare


@dataclass(frozen=True, slots=True)
class Batch:
    """``token_ids`` and ``positions`` [T]; ``logit_rows`` the rows whose next token is sampled."""

    token_ids: Tensor
    positions: Tensor
    logit_rows: Tensor
    context: AttentionContext


class Layout:
    """Where each chunk lies in the packed batch, in its sequence and in the cache. Chunks are numbered as they come.

    starts, lengths, ends: [S] positions in the sequence. first_rows: [S] of the batch. blocks: the chunks' tables, one
    after another, each from ``tables_at`` [S] on. token_ids, positions, slots: [T]. logit_rows: see ``Batch``.
    """

    def __init__(self, chunks: list[Chunk], block_size: int) -> None:
        self.chunks, self.block_size = chunks, block_size
        self.starts: Ints = np.array([chunk.start for chunk in chunks], dtype=np.int64)
        self.lengths: Ints = np.array([chunk.length for chunk in chunks], dtype=np.int64)
        self.ends: Ints = self.starts + self.lengths
        self.first_rows: Ints = np.cumsum(self.lengths) - self.lengths
        sizes = np.array([len(chunk.sequence.block_table) for chunk in chunks])
        self.tables_at: Ints = np.cumsum(sizes) - sizes
        self.blocks: Ints = np.concatenate([chunk.sequence.block_table for chunk in chunks]).astype(np.int64)
        self.token_ids: Ints = np.concatenate([chunk.token_ids for chunk in chunks]).astype(np.int64)
        owner = np.repeat(np.arange(len(chunks)), self.lengths)
        self.positions: Ints = np.arange(len(owner)) - (self.first_rows - self.starts)[owner]
        block_ids = self.blocks[self.tables_at[owner] + self.positions // block_size]
        self.slots: Ints = block_ids * block_size + self.positions % block_size
        self.logit_rows: Ints = (self.first_rows + self.lengths - 1)[[chunk.samples for chunk in chunks]]

    def padded_tables(self, members: Ints) -> Ints:
        """[members, most blocks]; a short table goes on with its own last block, hidden by the mask.

        Its own, because a hidden value has weight zero and zero times another sequence's NaN would be NaN.
        """
        tables = [self.chunks[member].sequence.block_table for member in members]
        padded = np.empty((len(tables), max(map(len, tables))), dtype=np.int64)
        for row, table in zip(padded, tables, strict=True):
            row[: len(table)] = table
            row[len(table) :] = table[-1]
        return padded


def build_batch(chunks: list[Chunk], cache: KVCache, device: torch.device) -> Batch:
    layout = _Groups(chunks, cache.block_size)
    groups = [layout.group(members, device) for members in layout.similar()]

    def tensor(values: Ints) -> Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    return Batch(
        token_ids=tensor(layout.token_ids),
        positions=tensor(layout.positions),
        logit_rows=tensor(layout.logit_rows),
        context=PagedContext(cache, tensor(layout.slots), groups),
    )


class _Groups(Layout):
    """A layout cut into groups of chunks of similar shape."""

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
            block_ids=tensor(self.padded_tables(members)[:, :num_blocks].ravel()),
            key_length=keys,
            aligned=bool((ends == keys).all() and ((lengths == 1).all() or (lengths == keys).all())),
        )


def _power_of_two(values: Ints) -> Ints:
    """The smallest power of two that is not below each value."""
    result: Ints = 2 ** np.ceil(np.log2(values)).astype(np.int64)
    return result
