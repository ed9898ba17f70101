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

FIRST_TOP_P_CANDIDATES = 256


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
    logits = _keep_top_k(logits, [p.top_k for p in params])
    probs = logits.softmax(dim=-1)
    floor = torch.maximum(
        _top_p_floor(probs, [p.top_p for p in params]),
        probs.amax(-1, keepdim=True) * _column([p.min_p for p in params], probs),
    )
    return _invert(probs.masked_fill(probs < floor, 0.0), uniforms(seqs))


def _keep_top_k(logits: Tensor, top_k: list[int]) -> Tensor:
    """Everything below a row's k-th highest logit becomes -inf; ties with it stay."""
    vocabulary = logits.shape[-1]
    limits = [k if 0 < k < vocabulary else vocabulary for k in top_k]
    bounded = [k for k in limits if k < vocabulary]
    if not bounded:
        return logits
    best = logits.topk(max(bounded)).values
    kth = best.gather(1, _indices([min(k, max(bounded)) - 1 for k in limits], logits))
    off = _indices([k == vocabulary for k in limits], logits).bool()
    return logits.masked_fill((logits < kth) & ~off, float("-inf"))


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
    """The index at which the running sum of ``weights`` [S, V] passes ``points`` [S] of its total."""
    sums = weights.cumsum(-1, dtype=torch.float64)
    targets = torch.from_numpy(points).to(sums.device).unsqueeze(1) * sums[:, -1:]
    return torch.searchsorted(sums, targets, right=True).squeeze(1)


def uniforms(seqs: Rows[Sequence]) -> npt.NDArray[np.float64]:
    """[S] numbers in [0, 1) from (seed, tokens written): two rounds of SplitMix64's finalizer."""
    mask = (1 << 64) - 1
    seeds = np.array([seq.seed & mask for seq in seqs], dtype=np.uint64)
    steps = np.array([seq.num_output for seq in seqs], dtype=np.uint64)
    mixed = _mix(_mix(seeds) + steps * np.uint64(0x9E3779B97F4A7C15))
    # 48 bits: the product with the total can then not round up to the total itself.
    return (mixed >> np.uint64(16)).astype(np.float64) / 2.0**48


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _column(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).unsqueeze(1)


def _indices(values: Rows[int], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device=like.device).unsqueeze(1)
