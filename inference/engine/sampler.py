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

from collections.abc import Sequence as Rows
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from inference.engine.outputs import TokenLogprobs
from inference.engine.sequence import Sequence
from inference.engine.shaping import shape

LEAST_TOP_P = 1e-6
MOST_TOP_K = 4096  # from here on top-k costs every row of the batch more than it could change
CHUNK = 128  # tokens that are summed and searched together
CPU_BLOCK = 1 << 20  # numbers handled at once: beyond, the system takes large buffers back and clears them anew
GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
ATTEMPT = 0xD1342543DE82EF95


def sample(logits: Tensor, seqs: Rows[Sequence]) -> list[int]:
    """``logits`` [S, vocabulary], one row per sequence -> token ids; -1 where a row holds NaN or infinity.

    Sets ``logprobs`` of the sequences that ask for them.
    """
    token_ids: list[int] = draw(logits, seqs).tolist()
    note_logprobs(logits, seqs, token_ids)
    return token_ids


def draw(logits: Tensor, seqs: Rows[Sequence]) -> Tensor:
    """``sample`` without the way to the host: [S] token ids on the device of ``logits``."""
    logits = shape(logits, seqs).float()
    highest, token_ids = _highest(logits)
    drawn = [row for row, seq in enumerate(seqs) if not seq.params.greedy]
    block = max(1, CPU_BLOCK // logits.shape[-1]) if logits.device.type == "cpu" else len(seqs)
    for first in range(0, len(drawn), block):
        part = drawn[first : first + block]
        neighbours = part[-1] - part[0] == len(part) - 1
        rows = slice(part[0], part[-1] + 1) if neighbours else torch.tensor(part, device=logits.device)
        token_ids[rows] = _draw(logits[rows], highest[rows], [seqs[row] for row in part])
    return token_ids.masked_fill_(~highest.squeeze(1).isfinite(), -1)


def note_logprobs(logits: Tensor, seqs: Rows[Sequence], token_ids: list[int]) -> None:
    """Log probabilities of the model itself: before temperature, penalties and the other settings."""
    asking = [row for row, seq in enumerate(seqs) if seq.params.logprobs is not None and token_ids[row] >= 0]
    if not asking:
        return
    rows = logits[torch.tensor(asking, device=logits.device)].float()
    totals = rows.logsumexp(-1, keepdim=True)
    chosen = rows.gather(1, torch.tensor([[token_ids[row]] for row in asking], device=logits.device))
    best = rows.topk(max(seqs[row].params.logprobs or 0 for row in asking))
    ranks = ((rows > chosen).sum(-1) + 1).tolist()
    own = (chosen - totals).squeeze(1).tolist()
    columns = zip(asking, own, ranks, best.indices.tolist(), (best.values - totals).tolist(), strict=True)
    for row, value, rank, ids, values in columns:
        count = seqs[row].params.logprobs
        seqs[row].logprobs = TokenLogprobs(value, rank, tuple(zip(ids[:count], values[:count], strict=True)))


def _highest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's highest logit [S, 1] and the first token that has it [S]; an index per number is slow."""
    vocabulary = logits.shape[-1]
    if vocabulary < 2 * CHUNK:
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


def _draw(logits: Tensor, highest: Tensor, seqs: list[Sequence]) -> Tensor:
    params = [seq.params for seq in seqs]
    weights = _scale(logits, highest, _column([p.temperature for p in params], logits))
    top_k = [p.top_k if 0 < p.top_k < min(logits.shape[-1], MOST_TOP_K) else 0 for p in params]
    if any(top_k):
        floor = _top_k_floor(weights.values, top_k)
        weights.narrow(floor)
        kept = weights.values >= floor
        weights.values.exp_().mul_(kept)
    else:
        weights.values.exp_()
    mass = weights.values.sum((1, 2))
    if any(p.min_p for p in params):
        floor = _column([p.min_p for p in params], logits).unsqueeze(2)  # the highest weight is 1
        weights.narrow(floor)
        weights.values.mul_(weights.values >= floor)
    return _draw_nucleus(weights, mass, seqs).masked_fill_(~mass.isfinite(), -1)


def _scale(logits: Tensor, highest: Tensor, temperature: Tensor) -> _Weights:
    """Logits below the highest, over the temperature; the vocabulary is filled up to whole chunks with -inf."""
    count, vocabulary = logits.shape
    chunks = -(-vocabulary // CHUNK)
    values = logits.new_empty(count, chunks * CHUNK)
    torch.sub(logits, highest, out=values[:, :vocabulary])
    values[:, vocabulary:] = float("-inf")
    starts = torch.arange(0, chunks * CHUNK, CHUNK, device=logits.device)
    return _Weights(_split(values.div_(temperature)), starts.expand(count, -1))


def _top_k_floor(values: Tensor, top_k: list[int]) -> Tensor:
    """[S, 1, 1], each row's k-th highest value, -inf where k is 0; ties with it stay."""
    most = max(top_k)
    # The k highest are in the k chunks with the highest peaks, or equal to ones that are.
    best = _chunks(values, values.amax(-1).topk(min(most, values.shape[1])).indices).flatten(1).topk(most).values
    ranks = torch.tensor(top_k, device=values.device).unsqueeze(1)
    return best.gather(1, (ranks - 1).clamp_(min=0)).masked_fill_(ranks == 0, float("-inf")).unsqueeze(2)


def _split(values: Tensor) -> Tensor:
    return values.view(len(values), -1, CHUNK)


def _chunks(values: Tensor, chunks: Tensor) -> Tensor:
    """Those of ``values`` [S, C, CHUNK] that ``chunks`` [S, N] numbers."""
    return values.gather(1, chunks.unsqueeze(2).expand(-1, -1, CHUNK))


def _draw_nucleus(weights: _Weights, mass: Tensor, seqs: list[Sequence]) -> Tensor:
    """Token ids [S], drawn until the weights above the token's are less than top-p of the row's ``mass`` [S]."""
    token_ids, weight = weights.at(uniforms(seqs))
    limited = [row for row, seq in enumerate(seqs) if seq.params.top_p < 1.0]
    if not limited:
        return token_ids
    rows = torch.tensor(limited, device=token_ids.device)
    # Never zero, even in float32: the likeliest token, which nothing is above, ends the loop.
    limits = mass * _column([max(seq.params.top_p, LEAST_TOP_P) for seq in seqs], mass).squeeze(1)
    left, attempt = weights if len(limited) == len(seqs) else weights.rows(rows), 0
    while len(rows):
        outside = (_mass_above(left.values, weight[rows]) >= limits[rows]).nonzero().squeeze(1)
        rows, left, attempt = rows[outside], left.rows(outside), attempt + 1
        if len(rows):
            # What is not likelier than a token outside is outside too.
            left.values.mul_(left.values > weight[rows])
            token_ids[rows], weight[rows] = left.at(uniforms([seqs[row] for row in rows.tolist()], attempt))
    return token_ids


def _mass_above(values: Tensor, weight: Tensor) -> Tensor:
    """[S], what is above ``weight`` [S, 1, 1], summed."""
    beyond = (values - weight).clamp_(min=0.0)
    mass = beyond.sum((1, 2))
    # No weight is above 1, so rounding up counts them. To compare and multiply takes four times as long.
    return mass + weight.flatten() * beyond.ceil_().sum((1, 2))


def uniforms(seqs: Rows[Sequence], attempt: int = 0) -> npt.NDArray[np.float64]:
    """[S] numbers in [0, 1) from (seed, tokens written): SplitMix64's, from a start that hashes the seed."""
    seeds = np.array([seq.seed % (1 << 64) for seq in seqs], dtype=np.uint64)
    steps = np.array([seq.num_output + 1 for seq in seqs], dtype=np.uint64)
    mixed = _mix(_mix(seeds + GOLDEN_RATIO) + steps * GOLDEN_RATIO + np.uint64(attempt * ATTEMPT % (1 << 64)))
    # 48 bits: the product with the total can then not round up to the total itself.
    return (mixed >> np.uint64(16)).astype(np.float64) / 2.0**48


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _column(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).unsqueeze(1)
