"""Attention over a paged cache: one kernel for sequences that add one token, one for chunks of several.

One token does not fill a device, so its keys are split over programs whose partial results a second kernel
merges (flash decoding); the query heads that share a key head are the rows of one product.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from ..attention import Attending
from . import kernels

CHUNK_ROWS = 64  # queries of one program
PROGRAMS_PER_CORE = 4  # enough to hide the memory's latency
MOST_SPLITS = 64
WIDE = 256  # bytes of a key; above it fewer stages fit, and more warps share them


class Decodes(NamedTuple):
    """Sequences that add one token. ``tables`` [sum of blocks] are their lists of blocks, end to end.

    rows: [S] of the packed batch. lengths: [S] keys, the new one counted. tables_at: [S] where in
    ``tables`` a sequence's list begins.
    """

    rows: Tensor
    lengths: Tensor
    tables_at: Tensor
    tables: Tensor


class Chunks(NamedTuple):
    """Sequences that add several tokens, and the tiles of ``CHUNK_ROWS`` queries into which they are cut.

    rows: [S] first row of each in the packed batch. starts: [S] position of its first query. lengths: [S]
    keys. tile_seqs, tile_offsets: [tiles] sequence, and first query counted from the sequence's first.
    """

    rows: Tensor
    starts: Tensor
    lengths: Tensor
    tables_at: Tensor
    tile_seqs: Tensor
    tile_offsets: Tensor
    tables: Tensor


def decode(query: Tensor, keys: Tensor, values: Tensor, output: Tensor, seqs: Decodes, how: Attending) -> None:
    """Attend one query per sequence. ``query`` [T, heads, D] and ``output`` [T, heads, D of value], at ``rows``.

    ``keys`` and ``values`` [blocks, block_size, kv_heads, D], contiguous, hold the new token already.
    """
    count, heads, kv_heads = len(seqs.rows), query.shape[1], keys.shape[2]
    splits = _splits(count * kv_heads, query.device)
    partial = query.new_empty(count, heads, splits, values.shape[-1], dtype=torch.float32)
    partial_log = query.new_empty(count, heads, splits, dtype=torch.float32)
    sharing = heads // kv_heads
    kernels.decode[(count, kv_heads, splits)](
        query, keys, values, output, partial, partial_log, *seqs, how.scale, query.stride(0), query.stride(1),
        CAP=how.softcap, WINDOW=how.window, SPLITS=splits, SHARING=sharing,
        PADDED=max(16, triton.next_power_of_2(sharing)), **_layout(keys, values),
    )  # fmt: skip
    if splits > 1:
        value_dim = values.shape[-1]
        kernels.merge[(count, heads)](
            partial, partial_log, output, seqs.rows,
            HEADS=heads, SPLITS=splits, VALUE_DIM=value_dim, VALUE_PAD=triton.next_power_of_2(value_dim),
        )  # fmt: skip


def chunks(query: Tensor, keys: Tensor, values: Tensor, output: Tensor, seqs: Chunks, how: Attending) -> None:
    """Attend the queries of every chunk, causally; tensors as in ``decode``."""
    heads, kv_heads = query.shape[1], keys.shape[2]
    kernels.chunk[(len(seqs.tile_seqs), heads)](
        query, keys, values, output, *seqs, how.scale, query.stride(0), query.stride(1),
        CAP=how.softcap, WINDOW=how.window, SHARING=heads // kv_heads, PADDED=CHUNK_ROWS, **_layout(keys, values),
    )  # fmt: skip


def _layout(keys: Tensor, values: Tensor) -> dict[str, Any]:
    """Shapes, and tiles whose stages fit the registers and the 227 KB of shared memory of a Hopper core."""
    row_bytes = triton.next_power_of_2(max(keys.shape[-1], values.shape[-1])) * keys.element_size()
    return {
        "TILE": min(64, 1 << 14 >> row_bytes.bit_length() - 1),
        "BLOCK_SIZE": keys.shape[1],
        "KV_HEADS": keys.shape[2],
        "KEY_DIM": keys.shape[-1],
        "KEY_PAD": max(16, triton.next_power_of_2(keys.shape[-1])),
        "VALUE_DIM": values.shape[-1],
        "VALUE_PAD": max(16, triton.next_power_of_2(values.shape[-1])),
        "num_warps": 4 if row_bytes <= WIDE else 8,
        "num_stages": 3 if row_bytes <= WIDE else 2,
    }


def _splits(pairs: int, device: torch.device) -> int:
    """Into how many parts to cut the keys of ``pairs`` of sequence and key head; a power of two."""
    wanted = -(-PROGRAMS_PER_CORE * _cores(device) // pairs)
    return int(min(MOST_SPLITS, triton.next_power_of_2(wanted)))


@lru_cache
def _cores(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
