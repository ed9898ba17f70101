"""Paged keys and values for the attention kernels, and what float64 computes from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.engine.attention import Attending
from inference.engine.cuda.attention import CHUNK_ROWS, Chunks, Decodes, chunks, decode

PLAIN = Attending(0.0)  # the usual scale


def scaled(how: Attending, dim: int) -> Attending:
    return how._replace(scale=how.scale or dim**-0.5)


@dataclass
class Pages:
    """Sequences of ``lengths`` keys whose blocks lie shuffled in a cache that is NaN everywhere else."""

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


def decode_errors(pages: Pages, how: Attending = PLAIN) -> list[float]:
    """Of each sequence the largest difference, NaN where there is one, of the decode kernel. The queries lie in
    reverse order, after a row that is not theirs; the last number is what was written there.
    """
    count = len(pages.lengths)
    query = pages.queries(count + 1)
    rows = list(range(count, 0, -1))
    output = torch.zeros(count + 1, pages.heads, pages.value_dim, dtype=pages.dtype, device=pages.device)
    seqs = Decodes(pages.ints(rows), pages.ints(pages.lengths), pages.tables_at, pages.tables)
    decode(query, pages.keys, pages.values, output, seqs, scaled(how, pages.key_dim))
    starts = [length - 1 for length in pages.lengths]
    return _errors(pages, query, output, rows, [1] * count, starts, how)


def chunk_errors(pages: Pages, counts: list[int], how: Attending = PLAIN) -> list[float]:
    """The same of the chunk kernel; the last ``counts`` tokens of each sequence are queries."""
    query = pages.queries(sum(counts) + 1)
    rows = [1 + sum(counts[:n]) for n in range(len(counts))]
    starts = [length - count for length, count in zip(pages.lengths, counts, strict=True)]
    tiles = [(seq, at) for seq, count in enumerate(counts) for at in range(0, count, CHUNK_ROWS)]
    tile_seqs, tile_offsets = (pages.ints(list(column)) for column in zip(*tiles, strict=True))
    placed = pages.ints(rows), pages.ints(starts), pages.ints(pages.lengths), pages.tables_at
    output = torch.zeros(sum(counts) + 1, pages.heads, pages.value_dim, dtype=pages.dtype, device=pages.device)
    seqs = Chunks(*placed, tile_seqs, tile_offsets, pages.tables)
    chunks(query, pages.keys, pages.values, output, seqs, scaled(how, pages.key_dim))
    return _errors(pages, query, output, rows, counts, starts, how)


def _errors(
    pages: Pages,
    query: Tensor,
    output: Tensor,
    rows: list[int],
    counts: list[int],
    starts: list[int],
    how: Attending,
) -> list[float]:
    errors = []
    for seq, (row, count, start) in enumerate(zip(rows, counts, starts, strict=True)):
        expected = pages.expected(seq, query[row : row + count], start, how)
        errors.append(float((output[row : row + count].cpu().double() - expected).abs().max()))
    return [*errors, float(output[0].abs().max())]
