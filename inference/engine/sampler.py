"""Draws the next token of every sequence of a batch at once.

A draw inverts the cumulative distribution, in vocabulary order, at a uniform number that is a hash of
the sequence's seed and the number of tokens it has written. So a token depends on its own sequence only:
not on what else is in the batch, not on the device's generator, and a sequence that moves to another
worker goes on as it would have. Order of the filters, as in transformers: temperature, top-k, top-p,
min-p.
"""

from __future__ import annotations

from collections.abc import Sequence as Rows
from math import isfinite

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from inference.engine.sequence import Sequence

FIRST_TOP_P_CANDIDATES = 64
NARROW = 1024  # tokens kept; up to here they are picked out of the vocabulary first
GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


def sample(logits: Tensor, seqs: Rows[Sequence]) -> list[int]:
    """``logits`` [S, vocabulary], one row per sequence -> token ids; -1 where a row holds NaN or infinity."""
    highest, token_ids = logits.max(dim=-1)
    drawn = [row for row, seq in enumerate(seqs) if not seq.params.greedy]
    if drawn:
        rows = torch.tensor(drawn, device=logits.device)
        token_ids[rows] = _draw(logits[rows].float(), [seqs[row] for row in drawn])
    pairs = zip(token_ids.tolist(), highest.tolist(), strict=True)
    return [token_id if isfinite(logit) else -1 for token_id, logit in pairs]


def _draw(logits: Tensor, seqs: Rows[Sequence]) -> Tensor:
    params = [seq.params for seq in seqs]
    logits = logits / _column([p.temperature for p in params], logits)
    probs = _keep_top_k(logits, [p.top_k for p in params]).softmax(dim=-1)
    floor = torch.maximum(
        _top_p_floor(probs, [p.top_p for p in params]),
        probs.amax(-1, keepdim=True) * _column([p.min_p for p in params], probs),
    )
    return _invert(probs.masked_fill_(probs < floor, 0.0), uniforms(seqs))


def _keep_top_k(logits: Tensor, top_k: list[int]) -> Tensor:
    """Set everything below a row's k-th highest logit to -inf, in place; ties with it stay."""
    limited = [row for row, k in enumerate(top_k) if 0 < k < logits.shape[-1]]
    if limited:
        ranks = [top_k[row] - 1 for row in limited]
        best = logits.topk(max(ranks) + 1).values
        kth = logits.new_full((len(logits), 1), float("-inf"))
        kth[limited, 0] = best[limited, ranks]
        logits.masked_fill_(logits < kth, float("-inf"))
    return logits


def _top_p_floor(probs: Tensor, top_p: list[float]) -> Tensor:
    """[S, 1], the least probability of the fewest tokens whose probabilities sum to top-p; 0 where off."""
    floor = probs.new_zeros(len(probs), 1)
    limited = [row for row, p in enumerate(top_p) if p < 1.0]
    if limited:
        rows = torch.tensor(limited, device=probs.device)
        floor[rows] = _nucleus_floor(probs[rows], _column([top_p[row] for row in limited], probs))
    return floor


def _nucleus_floor(probs: Tensor, top_p: Tensor) -> Tensor:
    # Sorting a whole vocabulary is slow and rarely needed: the nucleus is nearly always in the first few.
    count = min(FIRST_TOP_P_CANDIDATES, probs.shape[-1])
    while True:
        best = probs.topk(count).values
        sums = best.cumsum(-1)
        if count == probs.shape[-1] or bool((sums[:, -1:] >= top_p).all()):
            break
        count = min(count * 8, probs.shape[-1])
    size = (sums - best < top_p).sum(-1, keepdim=True)
    return best.gather(1, size - 1)


def _invert(weights: Tensor, points: npt.NDArray[np.float64]) -> Tensor:
    """The token at which the running sum of ``weights`` [S, V] passes ``points`` [S] of its total."""
    kept = int(weights.count_nonzero(dim=-1).max())
    if kept > NARROW:
        return _pass(weights, points).squeeze(1)
    # The same sums, since zeros add nothing, at a fraction of the work.
    token_ids = weights.topk(kept).indices.sort(dim=-1).values
    return token_ids.gather(1, _pass(weights.gather(1, token_ids), points)).squeeze(1)


def _pass(weights: Tensor, points: npt.NDArray[np.float64]) -> Tensor:
    sums = weights.cumsum(-1, dtype=torch.float64)
    targets = torch.from_numpy(points).to(sums.device).unsqueeze(1) * sums[:, -1:]
    # A row of NaN passes nowhere; it only has to stay in range, since ``sample`` reports it.
    return torch.searchsorted(sums, targets, right=True).clamp_(max=weights.shape[-1] - 1)


def uniforms(seqs: Rows[Sequence]) -> npt.NDArray[np.float64]:
    """[S] numbers in [0, 1) from (seed, tokens written): SplitMix64's, from a start that hashes the seed."""
    seeds = np.array([seq.seed % (1 << 64) for seq in seqs], dtype=np.uint64)
    steps = np.array([seq.num_output + 1 for seq in seqs], dtype=np.uint64)
    mixed = _mix(_mix(seeds + GOLDEN_RATIO) + steps * GOLDEN_RATIO)
    # 48 bits: the product with the total can then not round up to the total itself.
    return (mixed >> np.uint64(16)).astype(np.float64) / 2.0**48


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _column(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).unsqueeze(1)
