"""The attention kernels compute what float64 computes from gathered keys, whatever the blocks' order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from inference.engine.attention import Attending
from inference.engine.cuda import attention
from inference.engine.cuda.attention import CHUNK_ROWS, Chunks, Decodes, chunks, decode

DTYPES = [
    torch.float32,
    torch.float16,
    pytest.param(torch.bfloat16, marks=pytest.mark.cuda),  # the interpreter multiplies its bits as integers
]
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
PLAIN = Attending(0.0)  # the usual scale


def scaled(how: Attending, dim: int) -> Attending:
    return how._replace(scale=how.scale or dim**-0.5)


@dataclass
class Pages:
    """Sequences of ``lengths`` keys whose blocks lie shuffled in a cache full of NaN."""

    lengths: list[int]
    heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    block_size: int
    dtype: torch.dtype
    device: torch.device

    def __post_init__(self) -> None:
        torch.manual_seed(3)
        counts = [-(-length // self.block_size) for length in self.lengths]
        shuffled = torch.randperm(sum(counts) + 2)[: sum(counts)]
        self.blocks = list(shuffled.split(counts))
        self.keys = self._cache(len(shuffled) + 2, self.key_dim)
        self.values = self._cache(len(shuffled) + 2, self.value_dim)
        self.tables = shuffled.to(self.device)
        self.tables_at = self.ints([sum(counts[:n]) for n in range(len(counts))])

    def _cache(self, num_blocks: int, dim: int) -> Tensor:
        size = (num_blocks, self.block_size, self.kv_heads, dim)
        cache = torch.full(size, float("nan"), dtype=self.dtype, device=self.device)
        for length, blocks in zip(self.lengths, self.blocks, strict=True):
            at = torch.arange(length)
            numbers = torch.randn(length, self.kv_heads, dim).to(self.device, self.dtype)
            cache[blocks[at // self.block_size], at % self.block_size] = numbers
        return cache

    def ints(self, values: list[int]) -> Tensor:
        return torch.tensor(values, device=self.device)

    def queries(self, rows: int) -> Tensor:
        """[rows, heads, key_dim], laid out as transformers hands them over: heads before tokens."""
        return torch.randn(self.heads, rows, self.key_dim).to(self.device, self.dtype).transpose(0, 1).contiguous()

    def expected(self, seq: int, query: Tensor, start: int, how: Attending) -> Tensor:
        """[Q, heads, value_dim] in float64 of queries at positions from ``start``."""
        at = torch.arange(self.lengths[seq])
        place = self.blocks[seq][at // self.block_size], at % self.block_size
        share = self.heads // self.kv_heads
        key, value = (cache[place].cpu().double().repeat_interleave(share, 1) for cache in (self.keys, self.values))
        scale = scaled(how, self.key_dim).scale
        scores = torch.einsum("qhd,khd->hqk", query.cpu().double(), key) * scale
        if how.softcap is not None:
            scores = torch.tanh(scores / how.softcap) * how.softcap
        position = start + torch.arange(len(query))[:, None]
        hidden = (at > position) | (at <= position - (how.window or 1 << 30))
        return torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, float("-inf")).softmax(-1), value)


def check_decode(pages: Pages, how: Attending = PLAIN) -> None:
    """The sequences' queries lie in reverse order, after a row that is not theirs."""
    count = len(pages.lengths)
    query = pages.queries(count + 1)
    rows = list(range(count, 0, -1))
    output = torch.zeros(count + 1, pages.heads, pages.value_dim, dtype=pages.dtype, device=pages.device)
    seqs = Decodes(pages.ints(rows), pages.ints(pages.lengths), pages.tables_at, pages.tables)
    decode(query, pages.keys, pages.values, output, seqs, scaled(how, pages.key_dim))
    assert not output[0].any()
    for seq, row in enumerate(rows):
        expected = pages.expected(seq, query[row : row + 1], pages.lengths[seq] - 1, how)
        assert (output[row : row + 1].cpu().double() - expected).abs().max() < TOLERANCE[pages.dtype]


def check_chunks(pages: Pages, counts: list[int], how: Attending = PLAIN) -> None:
    """The last ``counts`` tokens of each sequence are queries."""
    query = pages.queries(sum(counts) + 1)
    rows = [1 + sum(counts[:n]) for n in range(len(counts))]
    starts = [length - count for length, count in zip(pages.lengths, counts, strict=True)]
    tiles = [(seq, at) for seq, count in enumerate(counts) for at in range(0, count, CHUNK_ROWS)]
    tile_seqs, tile_offsets = (pages.ints(list(column)) for column in zip(*tiles, strict=True))
    placed = pages.ints(rows), pages.ints(starts), pages.ints(pages.lengths), pages.tables_at
    output = torch.zeros(sum(counts) + 1, pages.heads, pages.value_dim, dtype=pages.dtype, device=pages.device)
    chunks(
        query,
        pages.keys,
        pages.values,
        output,
        Chunks(*placed, tile_seqs, tile_offsets, pages.tables),
        scaled(how, pages.key_dim),
    )
    assert not output[0].any()
    for seq, (row, count) in enumerate(zip(rows, counts, strict=True)):
        expected = pages.expected(seq, query[row : row + count], starts[seq], how)
        assert (output[row : row + count].cpu().double() - expected).abs().max() < TOLERANCE[pages.dtype]


SHAPES = [  # heads, kv_heads, key_dim, value_dim, block_size
    (4, 2, 32, 32, 16),
    (3, 3, 80, 80, 16),
    (8, 1, 48, 32, 32),
    (2, 1, 256, 256, 16),
]
HOWS = {
    "scale": Attending(0.3),
    "window": Attending(0.0, 37),
    "window of one": Attending(0.0, 1),
    "softcap": Attending(0.0, None, 1.5),
    "both": Attending(0.0, 70, 1.5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_decode_attends_every_key_of_each_sequence(shape: Any, dtype: torch.dtype, device: torch.device) -> None:
    check_decode(Pages([1, 16, 130, 64], *shape, dtype, device))


@pytest.mark.parametrize("how", HOWS)
def test_decode_scales_caps_and_forgets_as_told(how: str, device: torch.device) -> None:
    check_decode(Pages([1, 33, 140], 4, 2, 32, 32, 16, torch.float32, device), HOWS[how])


def test_decode_of_enough_sequences_needs_no_merge(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MOST_SPLITS", 1)
    check_decode(Pages([5, 100], 4, 2, 32, 32, 16, torch.float32, device))


def test_decode_splits_one_sequence_into_many_parts(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "PROGRAMS_PER_CORE", 1 << 20)
    check_decode(Pages([1000], 2, 1, 32, 32, 16, torch.float32, device), HOWS["window"])
    check_decode(Pages([1000], 2, 1, 32, 32, 16, torch.float32, device))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_attend_causally_and_to_what_came_before(shape: Any, dtype: torch.dtype, device: torch.device) -> None:
    check_chunks(Pages([2, 70, 130], *shape, dtype, device), [2, 70, 5])


@pytest.mark.parametrize("how", HOWS)
def test_chunks_scale_cap_and_forget_as_told(how: str, device: torch.device) -> None:
    check_chunks(Pages([30, 150], 4, 2, 32, 32, 16, torch.float32, device), [30, 90], HOWS[how])
