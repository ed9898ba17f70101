"""A step's plan: which rows see which keys.

Sequences whose block tables begin with the same blocks see the same keys there. The plan follows the
tables as a tree: a stretch of blocks that several decoding sequences share is one item of work with all
their queries, so its keys are read once (cascade attention), and what a row sees in several items is merged.
"""

from __future__ import annotations

import ctypes
from array import array
from dataclasses import dataclass
from operator import is_not
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..batch import Batch, Layout
from ..sequence import Chunk
from .attention import BLOCK, CpuCache, CpuContext, PlanArgs

Ints = npt.NDArray[np.int32]

SHORTEST_SHARED = 2  # blocks; sharing fewer costs more in merging than it saves
QUERY_TILE = 64  # rows of a prefill chunk in one item, so that threads share a chunk


@dataclass(frozen=True, slots=True)
class Stretch:
    """Blocks ``begin`` to ``end`` of the tables of ``members``, the same in all of them."""

    members: list[int]
    begin: int
    end: int


def shared_stretches(tables: npt.NDArray[Any], lengths: list[int]) -> list[Stretch]:
    """The stretches of at least two rows of ``tables`` [S, blocks] that are worth an item of their own.

    ``lengths`` are how many blocks of each row may be shared. Stretches of one row follow each other
    without a gap from block 0.
    """
    found: list[Stretch] = []
    _split(tables, lengths, list(range(len(tables))), 0, found)
    return found


def _split(tables: npt.NDArray[Any], lengths: list[int], members: list[int], begin: int, found: list[Stretch]) -> None:
    """Follow the tree of tables from block ``begin``, from which on ``members`` are not covered yet."""
    branches: dict[int, list[int]] = {}
    for member in members:
        if lengths[member] > begin:
            branches.setdefault(int(tables[member, begin]), []).append(member)
    for branch in branches.values():
        if len(branch) == 1:
            continue
        end = begin + _common(tables[branch, begin : min(lengths[member] for member in branch)])
        if end - begin >= SHORTEST_SHARED:
            found.append(Stretch(branch, begin, end))
            _split(tables, lengths, branch, end, found)


def _common(rows: npt.NDArray[Any]) -> int:
    differs = np.flatnonzero((rows != rows[0]).any(axis=0))
    return int(differs[0]) if len(differs) else rows.shape[1]


@dataclass(frozen=True, slots=True)
class _Step:
    """What a batch is made of but for its tokens. In the next step of the same decodes, all lies one token further."""

    tables: list[array[int]]
    next: list[tuple[int, int]]  # blocks of each table, and the token that comes then
    positions: npt.NDArray[np.int64]
    arrays: dict[str, npt.NDArray[Any]]
    plan: PlanArgs
    logit_rows: Tensor

    def advanced(self) -> _Step:
        own = len(self.tables)  # the last items, one of each decode; those before are of what several share
        key_end = self.arrays["key_end"].copy()
        key_end[-own:] += 1
        changed = {"key_end": key_end, **{name: self.arrays[name] + 1 for name in ("slots", "positions")}}
        plan = PlanArgs.from_buffer_copy(self.plan)
        for name, numbers in changed.items():
            setattr(plan, name, numbers.ctypes.data)
        then = [(size, start + 1) for size, start in self.next]
        return _Step(self.tables, then, self.positions + 1, self.arrays | changed, plan, self.logit_rows)


class Planner:
    """Turns chunks into a batch. Remembers the last step's sharing, which changes when the members do, and all of a
    step of decodes, which changes only when a table does.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._members: list[array[int]] = []
        self._stretches: list[Stretch] = []
        self._last: _Step | None = None  # of decodes alone

    def build(self, chunks: list[Chunk], cache: CpuCache) -> Batch:
        step = self._last.advanced() if self._last and self._goes_on(chunks) else self._arrange(chunks)
        self._last = step if all(chunk.length == 1 and chunk.samples for chunk in chunks) else None
        token_ids = np.concatenate([chunk.token_ids for chunk in chunks]).astype(np.int64)
        return Batch(
            token_ids=torch.from_numpy(token_ids),
            positions=torch.from_numpy(step.positions),
            logit_rows=step.logit_rows,
            context=CpuContext(self._library, cache, step.plan, step.arrays),
        )

    def _goes_on(self, chunks: list[Chunk]) -> bool:
        """Whether these are the decodes of the last step, of which none has begun a block."""
        before, tables = self._last, [chunk.sequence.block_table for chunk in chunks]
        if before is None or len(tables) != len(before.tables) or any(map(is_not, tables, before.tables)):
            return False
        then = [(len(table), chunk.start) for table, chunk in zip(tables, chunks, strict=True)]
        return then == before.next and all(chunk.length == 1 and chunk.samples for chunk in chunks)

    def _arrange(self, chunks: list[Chunk]) -> _Step:
        layout = Layout(chunks, BLOCK)
        arrays: dict[str, npt.NDArray[Any]] = self._items(layout) | {
            "slots": layout.slots,
            "positions": layout.positions.astype(np.int32),
            "blocks": layout.blocks.astype(np.int32),
        }
        plan = PlanArgs(
            tokens=len(layout.slots),
            items=len(arrays["parts"]),
            merges=len(arrays["merge_rows"]),
            partials=len(arrays["merge_parts"]),
            **{name: array.ctypes.data for name, array in arrays.items()},
        )
        tables = [chunk.sequence.block_table for chunk in chunks]
        then = [(len(table), chunk.end) for table, chunk in zip(tables, chunks, strict=True)]
        return _Step(tables, then, layout.positions, arrays, plan, torch.from_numpy(layout.logit_rows))

    def _items(self, layout: Layout) -> dict[str, Ints]:
        items = _Items()
        starts, lengths = layout.starts.tolist(), layout.lengths.tolist()
        first_rows, tables_at = layout.first_rows.tolist(), layout.tables_at.tolist()
        covered = [0] * len(starts)
        decodes = np.flatnonzero(layout.lengths == 1)
        for stretch in self._shared(layout, decodes):
            members = decodes[stretch.members].tolist()
            for member in members:
                covered[member] = stretch.end
            rows = [first_rows[member] for member in members]
            items.add(rows, tables_at[members[0]], stretch.begin, stretch.end * BLOCK)
        for number, length in enumerate(lengths):
            for first in range(0, length, QUERY_TILE):
                row, count = first_rows[number] + first, min(QUERY_TILE, length - first)
                items.add(range(row, row + count), tables_at[number], covered[number], starts[number] + first + count)
        return items.arrays(len(layout.token_ids))

    def _shared(self, layout: Layout, decodes: npt.NDArray[np.int64]) -> list[Stretch]:
        # A table only grows at its end, and an admission makes a new one: the same tables share the same blocks.
        members = [layout.chunks[number].sequence.block_table for number in decodes]
        if len(members) != len(self._members) or any(map(is_not, members, self._members)):
            self._members, self._stretches = members, []
            if len(members) > 1:
                lengths = (layout.starts[decodes] // BLOCK).tolist()
                self._stretches = shared_stretches(layout.padded_tables(decodes), lengths)
        return self._stretches


class _Items:
    """The lists of a plan under construction."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._items: list[tuple[int, int, int, int, int]] = []

    def add(self, rows: Any, table: int, begin: int, key_end: int) -> None:
        """``rows`` see keys from block ``begin`` of the table at ``table`` on, up to position ``key_end``."""
        first = len(self._rows)
        self._rows.extend(rows)
        self._items.append((first, len(self._rows), begin * BLOCK, key_end, table + begin))

    def arrays(self, num_rows: int) -> dict[str, Ints]:
        rows = np.array(self._rows, dtype=np.int32)
        columns = np.array(self._items, dtype=np.int32).T
        names = ("row_begin", "row_end", "key_begin", "key_end", "block_begin")
        arrays = {name: np.ascontiguousarray(column) for name, column in zip(names, columns, strict=True)}
        return arrays | {"rows": rows} | _merges(arrays, rows, num_rows)


def _merges(items: dict[str, Ints], rows: Ints, num_rows: int) -> dict[str, Ints]:
    """Rows that stand in several items: every one of their places is a partial result."""
    counts = np.bincount(rows, minlength=num_rows)
    partial = counts[rows] > 1
    numbers: Any = np.cumsum(partial) - partial  # of each place among the partial results
    first = items["row_begin"]
    parts = np.where(partial[first], numbers[first], -1).astype(np.int32)
    places = np.flatnonzero(partial)
    by_row = places[np.argsort(rows[places], kind="stable")]
    merged = np.flatnonzero(counts > 1)
    return {
        "parts": parts,
        "merge_rows": merged.astype(np.int32),
        "merge_begin": np.concatenate([[0], np.cumsum(counts[merged])]).astype(np.int32),
        "merge_parts": numbers[by_row].astype(np.int32),
    }
