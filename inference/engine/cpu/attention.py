"""Paged attention by the kernels: the KV cache in bfloat16, and a step's plan of which rows see which keys.

Sequences whose block tables begin with the same blocks see the same keys there. The plan follows the
tables as a tree: a stretch of blocks that several decoding sequences share is one item of work with all
their queries, so its keys are read once (cascade attention), and what a row sees in several items is merged.
"""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import is_not
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from inference.engine.attention import Attending, LayerShape
from inference.engine.backend import KERNEL_BLOCK as BLOCK
from inference.engine.batch import Batch
from inference.engine.cpu.library import address, pages
from inference.engine.sequence import Chunk
from inference.errors import UnsupportedModel

Ints = npt.NDArray[np.int32]

SHORTEST_SHARED = 2  # blocks; sharing fewer costs more in merging than it saves
QUERY_TILE = 64  # rows of a prefill chunk in one item, so that threads share a chunk


class LayerArgs(ctypes.Structure):
    """``layer`` in kernels.c."""

    _fields_ = (
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("query_norm", ctypes.c_void_p),
        ("key_norm", ctypes.c_void_p),
        ("heads", ctypes.c_int64),
        ("kv_heads", ctypes.c_int64),
        ("dim", ctypes.c_int64),
        ("window", ctypes.c_int64),
        ("scale", ctypes.c_float),
        ("softcap", ctypes.c_float),
        ("eps", ctypes.c_float),
    )


class Heads(ctypes.Structure):
    """``heads`` in kernels.c: where a tensor lies, and its strides in numbers."""

    _fields_ = (("data", ctypes.c_void_p), ("token", ctypes.c_int64), ("head", ctypes.c_int64))


PLAN_ARRAYS = (
    *("slots", "positions", "row_begin", "row_end", "key_begin", "key_end", "block_begin", "parts", "rows", "blocks"),
    *("merge_rows", "merge_begin", "merge_parts"),
)
PLAN_NUMBERS = {"tokens": "slots", "items": "row_begin", "merges": "merge_rows", "partials": "merge_parts"}


class PlanArgs(ctypes.Structure):
    """``plan`` in kernels.c."""

    _fields_ = (
        ("tokens", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in PLAN_ARRAYS[:2]),
        ("items", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in PLAN_ARRAYS[2:10]),
        ("merges", ctypes.c_int64),
        ("partials", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in PLAN_ARRAYS[10:]),
    )


class CpuCache:
    """Keys and values by layer, ``[num_blocks, kv_heads, 16 * dim]`` bfloat16 each, in the kernels' layout."""

    def __init__(self, shapes: dict[int, LayerShape], num_blocks: int, sharpness: float = 1.0) -> None:
        self._sharpness = sharpness  # by which scores are multiplied, to make a probe feel small differences
        self.shapes, self.num_blocks, self.block_size = shapes, num_blocks, BLOCK
        self.keys = {n: _zeros(num_blocks, shape) for n, shape in shapes.items()}
        self.values = {n: _zeros(num_blocks, shape) for n, shape in shapes.items()}
        self._args: dict[tuple[object, ...], LayerArgs] = {}

    def wipe(self, block_ids: list[int]) -> None:
        for cache in (*self.keys.values(), *self.values.values()):
            cache[block_ids] = 0

    def args(self, layer: int, heads: int, how: Attending) -> LayerArgs:
        """Kernel arguments of a layer, made once for each way of attending."""
        key = (layer, heads, how.scale, how.window, how.softcap)
        if key not in self._args:
            shape = self.shapes[layer]
            scale = how.scale if how.scale is not None else shape.key_dim**-0.5
            places = (self.keys[layer].data_ptr(), self.values[layer].data_ptr(), None, None)
            limits = (how.window or 0, scale * self._sharpness, how.softcap or 0.0, 0.0)
            self._args[key] = LayerArgs(*places, heads, shape.kv_heads, shape.key_dim, *limits)
        return self._args[key]


def _zeros(num_blocks: int, shape: LayerShape) -> Tensor:
    size = (num_blocks, shape.kv_heads, BLOCK * shape.key_dim)
    return pages(math.prod(size) * torch.bfloat16.itemsize).view(torch.bfloat16)[: math.prod(size)].view(size)


@dataclass(slots=True)
class CpuContext:
    """One step's attention. ``arrays`` keeps alive what ``plan`` points into."""

    library: ctypes.CDLL
    cache: CpuCache
    plan: PlanArgs
    arrays: dict[str, npt.NDArray[Any]]
    seen: dict[int, Attending] = field(default_factory=dict)  # how each layer attended

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: Attending) -> Tensor:
        """``query`` [T, heads, D], ``key`` and ``value`` [T, kv_heads, D], any strides but D's."""
        if how.mask is not None:
            raise UnsupportedModel("a mask of the model's own reached the attention")
        self.seen[layer] = how
        tensors = [each.float() if each.stride(-1) == 1 else each.float().contiguous() for each in (query, key, value)]
        qkv = (Heads * 3)(*(Heads(each.data_ptr(), each.stride(0), each.stride(1)) for each in tensors))
        args = self.cache.args(layer, query.shape[1], how)
        output = torch.empty(query.shape)
        self.run(args, qkv, None, None, 0, output)
        return output.to(query.dtype)

    def run(
        self, args: LayerArgs, qkv: Any, cos: Tensor | None, sin: Tensor | None, rotary: int, output: Tensor
    ) -> None:
        """``output`` [T, heads, D]; ``cos`` and ``sin`` [T, rotary] where queries and keys are to be rotated."""
        self.library.attention(
            ctypes.addressof(args),
            ctypes.addressof(self.plan),
            ctypes.addressof(qkv),
            address(cos),
            address(sin),
            rotary,
            output.data_ptr(),
        )


@dataclass(frozen=True, slots=True)
class Stretch:
    """Blocks ``begin`` to ``end`` of the tables of ``members``, the same in all of them."""

    members: list[int]
    begin: int
    end: int


def shared_stretches(tables: Ints, lengths: list[int]) -> list[Stretch]:
    """The stretches of at least two rows of ``tables`` [S, blocks] that are worth an item of their own.

    ``lengths`` are how many blocks of each row may be shared. Stretches of one row follow each other
    without a gap from block 0.
    """
    found: list[Stretch] = []
    _split(tables, lengths, list(range(len(tables))), 0, found)
    return found


def _split(tables: Ints, lengths: list[int], members: list[int], begin: int, found: list[Stretch]) -> None:
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


def _common(rows: Ints) -> int:
    differs = np.flatnonzero((rows != rows[0]).any(axis=0))
    return int(differs[0]) if len(differs) else rows.shape[1]


class Planner:
    """Turns chunks into a batch. Remembers the last step's sharing, which changes when the members do."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._members: list[array[int]] = []
        self._stretches: list[Stretch] = []

    def build(self, chunks: list[Chunk], cache: CpuCache) -> Batch:
        lengths = np.array([chunk.length for chunk in chunks])
        starts = np.array([chunk.start for chunk in chunks])
        first_rows = np.cumsum(lengths) - lengths
        owner = np.repeat(np.arange(len(chunks)), lengths)
        positions = np.arange(len(owner)) - (first_rows - starts)[owner]
        tables = _tables(chunks)
        slots = tables[owner, positions // BLOCK].astype(np.int64) * BLOCK + positions % BLOCK
        arrays = self._items(chunks, tables, first_rows) | {
            "slots": slots,
            "positions": positions.astype(np.int32),
            "blocks": tables.ravel(),
        }
        numbers = {name: len(arrays[array]) for name, array in PLAN_NUMBERS.items()}
        plan = PlanArgs(**numbers, **{name: array.ctypes.data for name, array in arrays.items()})
        last_rows = (first_rows + lengths - 1)[[chunk.samples for chunk in chunks]]
        return Batch(
            input_ids=torch.from_numpy(_token_ids(chunks)).unsqueeze(0),
            position_ids=torch.from_numpy(positions).unsqueeze(0),
            logit_rows=torch.from_numpy(last_rows),
            context=CpuContext(self._library, cache, plan, arrays),
        )

    def _items(self, chunks: list[Chunk], tables: Ints, first_rows: Any) -> dict[str, Ints]:
        items = _Items(tables.shape[1])
        covered = [0] * len(chunks)
        decodes = [number for number, chunk in enumerate(chunks) if chunk.length == 1]
        for stretch in self._shared(chunks, tables, decodes):
            members = [decodes[member] for member in stretch.members]
            for member in members:
                covered[member] = stretch.end
            items.add([int(first_rows[member]) for member in members], members[0], stretch.begin, stretch.end * BLOCK)
        for number, chunk in enumerate(chunks):
            for first in range(0, chunk.length, QUERY_TILE):
                row, count = int(first_rows[number]) + first, min(QUERY_TILE, chunk.length - first)
                items.add(range(row, row + count), number, covered[number], chunk.start + first + count)
        return items.arrays(len(first_rows) and int(first_rows[-1]) + chunks[-1].length)

    def _shared(self, chunks: list[Chunk], tables: Ints, decodes: list[int]) -> list[Stretch]:
        # A table only grows at its end, and an admission makes a new one: the same tables share the same blocks.
        members = [chunks[number].sequence.block_table for number in decodes]
        if len(members) != len(self._members) or any(map(is_not, members, self._members)):
            lengths = [chunks[number].start // BLOCK for number in decodes]
            self._members, self._stretches = members, shared_stretches(tables[decodes], lengths)
        return self._stretches


class _Items:
    """The lists of a plan under construction."""

    def __init__(self, table_width: int) -> None:
        self._width = table_width
        self._rows: list[int] = []
        self._items: list[tuple[int, int, int, int, int]] = []

    def add(self, rows: Any, table: int, begin: int, key_end: int) -> None:
        """``rows`` see keys from block ``begin`` of row ``table`` on, up to position ``key_end``."""
        first = len(self._rows)
        self._rows.extend(rows)
        place = table * self._width + begin
        self._items.append((first, len(self._rows), begin * BLOCK, key_end, place))

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


def _tables(chunks: list[Chunk]) -> Ints:
    """[chunks, most blocks]"""
    found = [chunk.sequence.block_table for chunk in chunks]
    tables = np.zeros((len(found), max(map(len, found))), dtype=np.int32)
    for row, table in zip(tables, found, strict=True):
        row[: len(table)] = table
    return tables


def _token_ids(chunks: list[Chunk]) -> npt.NDArray[np.int64]:
    slices = [chunk.sequence.token_ids[chunk.start : chunk.end] for chunk in chunks]
    return np.concatenate(slices).astype(np.int64)


def heads_of(qkv: Tensor, heads: int, kv_heads: int, dim: int) -> Iterator[Heads]:
    """Queries, keys and values side by side in ``qkv`` [T, (heads + 2 kv_heads) dim], float32."""
    for first in (0, heads, heads + kv_heads):
        yield Heads(qkv.data_ptr() + first * dim * 4, qkv.shape[-1], dim)
