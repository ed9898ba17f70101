"""A step's chunks as integers on the device, which get there in one copy."""

from __future__ import annotations

from collections.abc import Sequence as Items
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..attention import KVCache, LayerShape
from ..batch import Ints, Layout
from ..sequence import Chunk
from .attention import CHUNK_ROWS

ALIGNMENT = 16  # numbers: Triton compiles a kernel anew for addresses that are less aligned


class Staging:
    """An array of ``capacity`` integers that never moves on the device, so that CUDA graphs can read it.

    The host writes to two pinned arrays in turn, and to neither before its last copy has ended. The device's
    array is overwritten in the order of the stream: after the step that was launched before.
    """

    def __init__(self, capacity: int, device: torch.device) -> None:
        on_device = device.type == "cuda"
        self._host = [torch.zeros(capacity, dtype=torch.int64, pin_memory=on_device) for _ in range(2)]
        self._copied = [torch.cuda.Event() for _ in self._host] if on_device else []  # type: ignore[no-untyped-call]
        self._array = torch.zeros(capacity, dtype=torch.int64, device=device)
        self._turn = 0

    def send(self, parts: Items[Ints]) -> None:
        self._turn = 1 - self._turn
        if self._copied:
            self._copied[self._turn].synchronize()
        host, starts = self._host[self._turn], _starts(parts)
        for start, part in zip(starts, parts, strict=False):
            host.numpy()[start : start + len(part)] = part
        self._array[: starts[-1]].copy_(host[: starts[-1]], non_blocking=True)
        if self._copied:
            self._copied[self._turn].record()

    def views(self, parts: Items[Ints]) -> list[Tensor]:
        """Where ``parts`` lie once they are sent; the last goes on to the array's end, for longer ones to come."""
        starts = _starts(parts)
        views = [self._array[start : start + len(part)] for start, part in zip(starts, parts, strict=False)]
        return [*views[:-1], self._array[starts[-2] :]]


def _starts(parts: Items[Ints]) -> list[int]:
    """Of parts laid end to end, each aligned; and where one more would begin."""
    return list(accumulate((-(-len(part) // ALIGNMENT) * ALIGNMENT for part in parts), initial=0))


class PagedCache(KVCache):
    """One block more than ``num_blocks``: there the padding of a CUDA graph writes, and nobody else."""

    def __init__(
        self, shapes: dict[int, LayerShape], num_blocks: int, block_size: int, like: Tensor, capacity: int
    ) -> None:
        super().__init__(shapes, num_blocks + 1, block_size, like)
        self.num_blocks = self.scratch_block = num_blocks
        self.staging = Staging(capacity, like.device)


class Arrays(NamedTuple):
    """What the step's kernels read: see ``Batch``, ``Decodes`` and ``Chunks`` for the meanings."""

    token_ids: Ints
    positions: Ints
    slots: Ints
    logit_rows: Ints
    decode_rows: Ints
    decode_lengths: Ints
    decode_tables_at: Ints
    chunk_rows: Ints
    chunk_starts: Ints
    chunk_lengths: Ints
    chunk_tables_at: Ints
    tile_seqs: Ints
    tile_offsets: Ints
    tables: Ints


def arrange(chunks: list[Chunk], block_size: int) -> Arrays:
    """Chunks of one token are decodes, whatever phase their sequence is in."""
    layout = Layout(chunks, block_size)
    single, several = np.flatnonzero(layout.lengths == 1), np.flatnonzero(layout.lengths > 1)
    num_tiles = -(-layout.lengths[several] // CHUNK_ROWS)
    tile_seqs = np.repeat(np.arange(len(several)), num_tiles)
    return Arrays(
        token_ids=layout.token_ids,
        positions=layout.positions,
        slots=layout.slots,
        logit_rows=layout.logit_rows,
        decode_rows=layout.first_rows[single],
        decode_lengths=layout.ends[single],
        decode_tables_at=layout.tables_at[single],
        chunk_rows=layout.first_rows[several],
        chunk_starts=layout.starts[several],
        chunk_lengths=layout.ends[several],
        chunk_tables_at=layout.tables_at[several],
        tile_seqs=tile_seqs,
        tile_offsets=(np.arange(len(tile_seqs)) - (np.cumsum(num_tiles) - num_tiles)[tile_seqs]) * CHUNK_ROWS,
        tables=layout.blocks,
    )


def pad_decodes(arrays: Arrays, size: int, scratch_block: int, block_size: int) -> Arrays:
    """``arrays`` of decodes alone with rows of padding up to ``size``: token 0 at the scratch block's start."""
    rows, missing = np.arange(size), size - len(arrays.token_ids)

    def filled(part: Ints, value: int) -> Ints:
        return np.concatenate([part, np.full(missing, value)])

    return arrays._replace(
        token_ids=filled(arrays.token_ids, 0),
        positions=filled(arrays.positions, 0),
        slots=filled(arrays.slots, scratch_block * block_size),
        logit_rows=rows,
        decode_rows=rows,
        decode_lengths=filled(arrays.decode_lengths, 1),
        decode_tables_at=filled(arrays.decode_tables_at, len(arrays.tables)),
        tables=np.append(arrays.tables, scratch_block),
    )


def no_arrays() -> Arrays:
    return Arrays(*[np.array([], dtype=np.int64)] * len(Arrays._fields))
