"""What changes a sequence's logits before its token is drawn: penalties, biases, min_tokens, a grammar.

Only sequences that ask for any of it have a ``Shaping``; a batch without one is not touched. A step's
work is one gather and one scatter over the tokens concerned, never over the history. What a step needs is gathered
when it is launched (``Changes``), since its sequences may have moved on when it is applied.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .sampling_params import SamplingParams
from .transfer import send

if TYPE_CHECKING:
    from .sequence import Sequence
    from .structured import Grammar


class TokenCounts:
    """The distinct tokens of prompt and answer, and how often each is in the answer; O(1) per token."""

    def __init__(self, prompt: Rows[int]) -> None:
        self.ids = array("i", dict.fromkeys(prompt))
        self.counts = array("i", bytes(4 * len(self.ids)))
        self._places = {token_id: place for place, token_id in enumerate(self.ids)}

    def add(self, token_id: int) -> None:
        place = self._places.setdefault(token_id, len(self.ids))
        if place == len(self.ids):
            self.ids.append(token_id)
            self.counts.append(0)
        self.counts[place] += 1


class Shaping:
    """One sequence's part. ``end_ids`` are the tokens that ``min_tokens`` holds back."""

    def __init__(
        self, params: SamplingParams, prompt: Rows[int], end_ids: frozenset[int], grammar: Grammar | None
    ) -> None:
        self.counts = TokenCounts(prompt) if _penalised(params) else None
        self.bias = dict(params.logit_bias)
        self.ends = dict.fromkeys(end_ids, float("-inf")) if params.min_tokens else {}
        self.grammar = grammar

    @classmethod
    def for_params(
        cls, params: SamplingParams, prompt: Rows[int], end_ids: frozenset[int], grammar: Grammar | None
    ) -> Shaping | None:
        """``None`` when the parameters ask for nothing of it."""
        asked = _penalised(params) or params.logit_bias or params.min_tokens or grammar
        return cls(params, prompt, end_ids, grammar) if asked else None

    @property
    def follows(self) -> bool:
        """Whether what it asks depends on which tokens were drawn before, and not only on how many."""
        return self.counts is not None or self.grammar is not None

    def advance(self, token_id: int) -> None:
        """Take in a token of the answer."""
        if self.counts is not None:
            self.counts.add(token_id)
        if self.grammar is not None:
            self.grammar.advance(token_id)


Shaped = list[tuple[int, "Sequence", Shaping]]  # with their rows


@dataclass(frozen=True, slots=True)
class Changes:
    """What the sequences of a step change, each part a number per ``rows`` and ``ids`` or nothing."""

    penalties: tuple[Tensor, ...]  # rows, ids, counts in the answer, and the three penalties
    biases: tuple[Tensor, ...]  # rows, ids, what is added
    masks: tuple[Tensor, ...]  # rows [G], tokens that are not allowed there [G, vocabulary]

    @classmethod
    def wanted(cls, seqs: Rows[Sequence], vocabulary: int, device: torch.device) -> Changes | None:
        shaped = [(row, seq, seq.shaping) for row, seq in enumerate(seqs) if seq.shaping is not None]
        if not shaped:
            return None
        parts = _penalties(shaped), _biases(shaped), _masks(shaped, vocabulary)
        return cls(*(tuple(send(numbers, device) for numbers in part) for part in parts))

    def apply(self, logits: Tensor) -> Tensor:
        """A changed copy of ``logits`` [S, vocabulary]."""
        logits = logits.to(torch.float32, copy=True)
        if self.penalties:
            rows, ids, counts, repetition, frequency, presence = self.penalties
            values = logits[rows, ids]
            values = torch.where(values > 0, values / repetition, values * repetition)
            logits[rows, ids] = values - frequency * counts - presence * (counts > 0)
        if self.biases:
            rows, ids, values = self.biases
            logits[rows, ids] += values
        if self.masks:
            rows, denied = self.masks
            logits[rows] = logits[rows].masked_fill_(denied, float("-inf"))
        return logits


def _penalised(params: SamplingParams) -> bool:
    return params.repetition_penalty != 1.0 or params.presence_penalty != 0.0 or params.frequency_penalty != 0.0


def _penalties(shaped: Shaped) -> tuple[npt.NDArray[Any], ...]:
    found = [(row, seq.params, shaping.counts) for row, seq, shaping in shaped if shaping.counts is not None]
    if not found:
        return ()
    lengths = [len(counts.ids) for _, _, counts in found]
    rows = np.repeat([row for row, _, _ in found], lengths)
    settings = [(p.repetition_penalty, p.frequency_penalty, p.presence_penalty) for _, p, _ in found]
    ids, counts = np.concatenate([c.ids for _, _, c in found]), np.concatenate([c.counts for _, _, c in found])
    return rows, ids.astype(np.int64), counts, *np.repeat(np.array(settings, dtype=np.float32).T, lengths, axis=1)


def _biases(shaped: Shaped) -> tuple[npt.NDArray[Any], ...]:
    rows: list[int] = []
    biases: list[tuple[int, float]] = []
    for row, seq, shaping in shaped:
        own = shaping.bias | shaping.ends if seq.num_output < seq.params.min_tokens else shaping.bias
        biases += own.items()
        rows += [row] * len(own)
    if not biases:
        return ()
    ids, values = zip(*biases, strict=True)
    return np.array(rows), np.array(ids), np.array(values, dtype=np.float32)


def _masks(shaped: Shaped, vocabulary: int) -> tuple[npt.NDArray[Any], ...]:
    guided = [(row, shaping.grammar) for row, _, shaping in shaped if shaping.grammar is not None]
    if not guided:
        return ()
    bits: npt.NDArray[np.int32] = np.zeros((len(guided), -(-vocabulary // 32)), dtype=np.int32)
    for own, (_, grammar) in zip(bits, guided, strict=True):
        grammar.fill(own)
    allowed = np.unpackbits(bits.view(np.uint8), axis=1, count=vocabulary, bitorder="little")
    return np.array([row for row, _ in guided]), allowed == 0
