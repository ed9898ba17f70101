"""Draws the next token of every sequence of a batch at once.

A draw inverts the cumulative distribution, in vocabulary order, at a uniform number that is a hash of
the sequence's seed and the number of tokens it has written. So a token depends on its own sequence only:
not on what else is in the batch, not on the device's generator, and a sequence that moves to another
worker goes on as it would have. That holds for the draw itself to the bit. The logits under it may
differ in their last bits with the shape of the batch, as matrix products do, so a draw that falls that
close to a boundary between two tokens, or a greedy choice between two that are that close, may differ.
Order of the filters, as in transformers: temperature, top-k, top-p, min-p.

No vocabulary is ever sorted. It is summed and searched in chunks, and a draw outside the top-p nucleus is
drawn again among the likelier tokens, which needs a sum per draw (the idea is FlashInfer's).
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Numbers
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .outputs import TokenLogprobs
from .sequence import Sequence
from .shaping import Changes
from .transfer import Fetched, send

Hashes = npt.NDArray[np.uint64]

LEAST_TOP_P = 1e-6
MOST_TOP_K = 4096  # from here on top-k costs every row of the batch more than it could change
CHUNK = 128  # tokens that are summed and searched together
CPU_BLOCK = 1 << 20  # numbers handled at once: beyond, the system takes large buffers back and clears them anew
GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
ATTEMPT = 0xD1342543DE82EF95


class Drawn:
    """The tokens of a step, and the log probabilities that its sequences ask for."""

    def __init__(self, token_ids: Tensor, asking: list[tuple[int, int]], logprobs: list[Tensor]) -> None:
        self.token_ids = token_ids  # [S], on the device of the logits; -1 where a row holds NaN or infinity
        self._asking, self._fetched = asking, Fetched([token_ids, *logprobs])

    def read(self) -> tuple[list[int], dict[int, TokenLogprobs]]:
        """Token ids, and log probabilities by row. Waits for the device."""
        token_ids, *columns = self._fetched.lists()
        entries = zip(self._asking, *columns, strict=True) if columns else ()
        return token_ids, {
            row: TokenLogprobs(own, rank, tuple(zip(ids[:count], values[:count], strict=True)))
            for (row, count), own, rank, ids, values in entries
        }


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows that are drawn together, and their settings in columns on the device."""

    rows: slice | Tensor
    numbers: npt.NDArray[np.int64]  # the same on the host
    hashes: Hashes
    temperature: Tensor  # [R, 1]
    top_k: Tensor | None  # [R, 1], 0 where it is off
    most: int  # the highest of them
    min_p: Tensor | None  # [R, 1, 1]
    top_p: Tensor | None  # [R], never 0
    limited: npt.NDArray[np.int64]  # places in the block where it is below 1


class Sampler:
    """Knows the settings of the last step's sequences, which stay the same for as long as these do."""

    def __init__(self, vocabulary: int, device: torch.device) -> None:
        self._vocabulary, self._device = vocabulary, device
        self._seqs: list[Sequence] = []
        self._blocks: list[_Block] = []
        self._asking: list[tuple[int, int]] = []

    def prepare(self, seqs: list[Sequence]) -> Sampling:
        if seqs != self._seqs:
            self._seqs, self._blocks = seqs, list(self._settings(seqs))
            self._asking = [(row, p.logprobs) for row, p in enumerate(s.params for s in seqs) if p.logprobs is not None]
        steps = np.array([seq.drawn_before + seq.num_output + 1 for seq in seqs], dtype=np.uint64)
        return Sampling(self._blocks, steps, Changes.wanted(seqs, self._vocabulary, self._device), self._asking)

    def _settings(self, seqs: list[Sequence]) -> Iterator[_Block]:
        drawn = [row for row, seq in enumerate(seqs) if not seq.params.greedy]
        size = max(1, CPU_BLOCK // self._vocabulary) if self._device.type == "cpu" else len(seqs)
        for first in range(0, len(drawn), size):
            part = drawn[first : first + size]
            yield self._block(np.array(part), [seqs[row] for row in part])

    def _block(self, rows: npt.NDArray[np.int64], seqs: list[Sequence]) -> _Block:
        params = [seq.params for seq in seqs]
        top_k = [p.top_k if 0 < p.top_k < min(self._vocabulary, MOST_TOP_K) else 0 for p in params]
        top_p = np.array([max(p.top_p, LEAST_TOP_P) for p in params], dtype=np.float32)
        column = partial(_column, device=self._device)
        return _Block(
            rows=slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 else send(rows, self._device),
            numbers=rows,
            hashes=hashes([seq.seed for seq in seqs]),
            temperature=column([p.temperature for p in params]),
            top_k=column(top_k).long() if any(top_k) else None,
            most=max(top_k),
            min_p=column([p.min_p for p in params]).unsqueeze(2) if any(p.min_p for p in params) else None,
            top_p=send(top_p, self._device) if (top_p < 1.0).any() else None,
            limited=np.flatnonzero(top_p < 1.0),
        )


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one step's tokens are drawn: of its sequences as they were at its launch."""

    blocks: list[_Block]
    steps: npt.NDArray[np.uint64]  # [S] which token of its answer each sequence draws
    changes: Changes | None
    asking: list[tuple[int, int]]  # rows whose log probabilities are asked for, and of how many tokens besides

    def draw(self, logits: Tensor) -> Drawn:
        """``logits`` [S, vocabulary], one row per sequence."""
        values = (logits if self.changes is None else self.changes.apply(logits)).float()
        highest, token_ids = _highest(values)
        for block in self.blocks:
            drawn = _draw(values[block.rows], highest[block.rows], block, self.steps[block.numbers])
            token_ids[block.rows] = drawn
        token_ids.masked_fill_(~highest.squeeze(1).isfinite(), -1)
        return Drawn(token_ids, self.asking, _logprobs(logits, self.asking, token_ids) if self.asking else [])


def _logprobs(logits: Tensor, asking: list[tuple[int, int]], token_ids: Tensor) -> list[Tensor]:
    """Of the model itself, before temperature, penalties and the other settings: of the tokens drawn, the tokens'
    ranks, the likeliest tokens and theirs.
    """
    numbers = send(np.array([row for row, _ in asking]), logits.device)
    rows = logits[numbers].float()
    totals = rows.logsumexp(-1, keepdim=True)
    chosen = rows.gather(1, token_ids[numbers].clamp(min=0).unsqueeze(1))
    best = rows.topk(max(count for _, count in asking))
    ranks = (rows > chosen).sum(-1) + 1
    return [(chosen - totals).squeeze(1), ranks, best.indices, best.values - totals]


def _highest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's highest logit [S, 1] and the first token that has it [S]; an index per number is slow."""
    vocabulary = logits.shape[-1]
    if vocabulary < 2 * CHUNK or not len(logits):
        highest, token_ids = logits.max(dim=-1, keepdim=True)
        return highest, token_ids.squeeze(1)
    whole = vocabulary // CHUNK * CHUNK
    peaks = torch.cat([_split(logits[:, :whole]).amax(-1), logits[:, -CHUNK:].amax(-1, keepdim=True)], dim=1)
    highest, chunk = peaks.max(dim=-1, keepdim=True)
    starts = (chunk * CHUNK).clamp_(max=vocabulary - CHUNK)
    near = logits.gather(1, starts + torch.arange(CHUNK, device=logits.device))
    return highest, starts.squeeze(1) + near.argmax(-1)


@dataclass(slots=True)
class _Weights:
    """What is left to draw from: ``values`` [S, C, CHUNK] of the tokens from ``starts`` [S, C] on."""

    values: Tensor
    starts: Tensor

    def narrow(self, floor: Tensor) -> None:
        """Leave out chunks that have no value at ``floor`` [S, 1, 1] or above."""
        if self.values.device.type != "cpu":  # asking how many chunks are needed costs more there than it saves
            return
        peaks = self.values.amax(-1)
        needed = max(1, int((peaks >= floor.squeeze(2)).sum(-1).max()))
        if needed < peaks.shape[1]:
            chunks = peaks.topk(needed).indices.sort(-1).values
            self.starts = self.starts.gather(1, chunks)
            self.values = _chunks(self.values, chunks)

    def rows(self, rows: Tensor) -> _Weights:
        return _Weights(self.values[rows], self.starts[rows])

    def at(self, points: npt.NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """Where the running sum passes ``points`` [S] of its total: token ids [S], their weights [S, 1, 1]."""
        sums = self.values.sum(-1)
        ends = sums.cumsum(-1, dtype=torch.float64)
        targets = torch.from_numpy(points).to(sums.device).unsqueeze(1) * ends[:, -1:]
        # A row of NaN passes nowhere; it only has to stay in range, since ``draw`` reports it.
        chunk = torch.searchsorted(ends, targets, right=True).clamp_(max=sums.shape[1] - 1)
        inside = _chunks(self.values, chunk).squeeze(1)
        passed = inside.cumsum(-1, dtype=torch.float64)
        # Rounding must lead neither before nor past the weights that are not zero.
        rest = (targets - ends.gather(1, chunk) + sums.gather(1, chunk)).clamp_(min=0.0)
        rest = torch.minimum(rest, torch.nextafter(passed[:, -1:], torch.zeros_like(rest)))
        place = torch.searchsorted(passed, rest, right=True).clamp_(max=CHUNK - 1)
        token_ids = self.starts.gather(1, chunk) + place
        return token_ids.squeeze(1), inside.gather(1, place).unsqueeze(2)


def _draw(logits: Tensor, highest: Tensor, block: _Block, steps: npt.NDArray[np.uint64]) -> Tensor:
    weights = _scale(logits, highest, block.temperature)
    if block.top_k is not None:
        floor = _top_k_floor(weights.values, block.top_k, block.most)
        weights.narrow(floor)
        kept = weights.values >= floor
        weights.values.exp_().mul_(kept)
    else:
        weights.values.exp_()
    mass = weights.values.sum((1, 2))
    if block.min_p is not None:  # the highest weight is 1
        weights.narrow(block.min_p)
        weights.values.mul_(weights.values >= block.min_p)
    draw = _draw_on_device if logits.device.type == "cuda" else _draw_nucleus
    return draw(weights, mass, block, steps).masked_fill_(~mass.isfinite(), -1)


def _scale(logits: Tensor, highest: Tensor, temperature: Tensor) -> _Weights:
    """Logits below the highest, over the temperature; the vocabulary is filled up to whole chunks with -inf."""
    count, vocabulary = logits.shape
    chunks = -(-vocabulary // CHUNK)
    values = logits.new_empty(count, chunks * CHUNK)
    torch.sub(logits, highest, out=values[:, :vocabulary])
    values[:, vocabulary:] = float("-inf")
    starts = torch.arange(0, chunks * CHUNK, CHUNK, device=logits.device)
    return _Weights(_split(values.div_(temperature)), starts.expand(count, -1))


def _top_k_floor(values: Tensor, ranks: Tensor, most: int) -> Tensor:
    """[S, 1, 1], each row's k-th highest value, -inf where k is 0; ties with it stay. ``most``: the highest k."""
    # The k highest are in the k chunks with the highest peaks, or equal to ones that are.
    best = _chunks(values, values.amax(-1).topk(min(most, values.shape[1])).indices).flatten(1).topk(most).values
    return best.gather(1, (ranks - 1).clamp_(min=0)).masked_fill_(ranks == 0, float("-inf")).unsqueeze(2)


def _split(values: Tensor) -> Tensor:
    return values.view(len(values), -1, CHUNK)


def _chunks(values: Tensor, chunks: Tensor) -> Tensor:
    """Those of ``values`` [S, C, CHUNK] that ``chunks`` [S, N] numbers."""
    return values.gather(1, chunks.unsqueeze(2).expand(-1, -1, CHUNK))


def _draw_nucleus(weights: _Weights, mass: Tensor, block: _Block, steps: npt.NDArray[np.uint64]) -> Tensor:
    """Token ids [S], drawn until the weights above the token's are less than top-p of the row's ``mass`` [S]."""
    token_ids, weight = weights.at(uniforms(block.hashes, steps))
    if block.top_p is None:
        return token_ids
    # Never zero, even in float32: the likeliest token, which nothing is above, ends the loop.
    limits, rows, attempt = mass * block.top_p, torch.from_numpy(block.limited), 0
    left = weights if len(rows) == len(steps) else weights.rows(rows)
    while len(rows):
        outside = (_mass_above(left.values, weight[rows]) >= limits[rows]).nonzero().squeeze(1)
        rows, left, attempt = rows[outside], left.rows(outside), attempt + 1
        if len(rows):
            # What is not likelier than a token outside is outside too.
            left.values.mul_(left.values > weight[rows])
            points = uniforms(block.hashes[rows.numpy()], steps[rows.numpy()], attempt)
            token_ids[rows], weight[rows] = left.at(points)
    return token_ids


def _draw_on_device(weights: _Weights, mass: Tensor, block: _Block, steps: npt.NDArray[np.uint64]) -> Tensor:
    """``_draw_nucleus`` in one kernel, which does not ask the host whether to draw again."""
    from .cuda.elementwise import draw_nucleus

    limits = torch.full_like(mass, float("inf")) if block.top_p is None else mass * block.top_p
    states = np.stack([block.hashes, steps]).view(np.int64)
    return draw_nucleus(weights.values.flatten(1), limits, send(states, mass.device))


def _mass_above(values: Tensor, weight: Tensor) -> Tensor:
    """[S], what is above ``weight`` [S, 1, 1], summed."""
    beyond = (values - weight).clamp_(min=0.0)
    mass = beyond.sum((1, 2))
    # No weight is above 1, so rounding up counts them. To compare and multiply takes four times as long.
    return mass + weight.flatten() * beyond.ceil_().sum((1, 2))


def hashes(seeds: Numbers[int]) -> Hashes:
    return _mix(np.array([seed % (1 << 64) for seed in seeds], dtype=np.uint64) + GOLDEN_RATIO)


def uniforms(hashed: Hashes, steps: npt.NDArray[np.uint64], attempt: int = 0) -> npt.NDArray[np.float64]:
    """[S] numbers in [0, 1) from a seed's hash and the number of tokens written: SplitMix64's."""
    mixed = _mix(hashed + steps * GOLDEN_RATIO + np.uint64(attempt * ATTEMPT % (1 << 64)))
    # 48 bits: the product with the total can then not round up to the total itself.
    return (mixed >> np.uint64(16)).astype(np.float64) / 2.0**48


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _column(values: Numbers[float], device: torch.device) -> Tensor:
    """[R, 1]"""
    return send(np.array(values, dtype=np.float32)[:, None], device)
