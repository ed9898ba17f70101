"""A step's chunks become the integers that its kernels read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.engine.cuda.attention import CHUNK_ROWS
from inference.engine.cuda.graphs import sizes_up_to
from inference.engine.cuda.staging import Arrays, Staging, arrange, no_arrays, pad_decodes
from inference.engine.sampling_params import SamplingParams
from inference.engine.sequence import Chunk, Sequence, token_array


def chunk(start: int, length: int, blocks: list[int], known: int) -> Chunk:
    seq = Sequence("r", token_array(range(100, 100 + known)), known, SamplingParams(), 0, 999, (0, 0.0, 0))
    seq.block_table = token_array(blocks)
    return Chunk(seq, start, length)


def lists(arrays: Arrays) -> dict[str, list[int]]:
    return {name: list(part) for name, part in arrays._asdict().items()}


def test_decodes_and_chunks_are_told_apart_by_their_length() -> None:
    arranged = arrange([chunk(5, 1, [7, 3], 6), chunk(2, 3, [1, 9], 8), chunk(0, 1, [4], 1)], block_size=4)
    assert lists(arranged) == {
        "token_ids": [105, 102, 103, 104, 100],
        "positions": [5, 2, 3, 4, 0],
        "slots": [13, 6, 7, 36, 16],
        "logit_rows": [0, 4],  # the chunk does not reach its sequence's end
        "decode_rows": [0, 4],
        "decode_lengths": [6, 1],
        "decode_tables_at": [0, 4],
        "chunk_rows": [1],
        "chunk_starts": [2],
        "chunk_lengths": [5],
        "chunk_tables_at": [2],
        "tile_seqs": [0],
        "tile_offsets": [0],
        "tables": [7, 3, 1, 9, 4],
    }


def test_a_long_chunk_is_cut_into_tiles() -> None:
    arranged = arrange([chunk(0, 2, [0], 2), chunk(0, 2 * CHUNK_ROWS + 1, [1, 2, 3], 300)], block_size=100)
    assert arranged.tile_seqs.tolist() == [0, 1, 1, 1]
    assert arranged.tile_offsets.tolist() == [0, 0, CHUNK_ROWS, 2 * CHUNK_ROWS]


def test_padding_reads_and_writes_the_scratch_block_alone() -> None:
    padded = pad_decodes(arrange([chunk(5, 1, [7, 3], 6)], block_size=4), size=3, scratch_block=11, block_size=4)
    assert lists(padded) == lists(no_arrays()) | {
        "token_ids": [105, 0, 0],
        "positions": [5, 0, 0],
        "slots": [13, 44, 44],
        "logit_rows": [0, 1, 2],
        "decode_rows": [0, 1, 2],
        "decode_lengths": [6, 1, 1],
        "decode_tables_at": [0, 2, 2],
        "tables": [7, 3, 11],
    }


def test_parts_arrive_at_aligned_places_that_stay_the_same(device: torch.device) -> None:
    staging = Staging(64, device)
    for numbers in ([1, 2, 3], [4, 5, 6], [7, 8, 9]):
        parts = [np.array(numbers), np.array([], dtype=np.int64), np.array([-1])]
        staging.send(parts)
        first, empty, last = staging.views(parts)
        assert (first.tolist(), len(empty), int(last[0])) == (numbers, 0, -1)
        assert last.data_ptr() - first.data_ptr() == 16 * 8
        assert len(last) == 48


def test_more_than_fits_is_an_error(device: torch.device) -> None:
    with pytest.raises(ValueError, match="could not broadcast"):
        Staging(16, device).send([np.arange(17)])


def test_graph_sizes_end_with_the_most_sequences_that_run() -> None:
    assert sizes_up_to(1) == [1]
    assert sizes_up_to(8) == [1, 2, 4, 8]
    assert sizes_up_to(40) == [1, 2, 4, 8, 16, 32, 40]
