"""What changes a sequence's logits before its token is drawn: penalties, biases, min_tokens, a grammar.

Only sequences that ask for any of it have a ``Shaping``; a batch without one is not touched. A step's
work is one gather and one scatter over the tokens concerned, never over the history.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence as Rows
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from inference.engine.sampling_params import SamplingParams

if TYPE_CHECKING:
    from inference.engine.sequence import Sequence
    from inference.engine.structured import Grammar


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

    def advance(self, token_id: int) -> None:
        """Take in a token of the answer."""
        if self.counts is not None:
            self.counts.add(token_id)
        if self.grammar is not None:
            self.grammar.advance(token_id)


Shaped = list[tuple[int, "Sequence", Shaping]]  # with their rows


def shape(logits: Tensor, seqs: Rows[Sequence]) -> Tensor:
    """``logits`` [S, vocabulary] as the sequences want them: a changed copy, or the same when none wants any."""
    shaped = [(row, seq, seq.shaping) for row, seq in enumerate(seqs) if seq.shaping is not None]
    if shaped:
        logits = logits.to(torch.float32, copy=True)
        _penalise(logits, [entry for entry in shaped if entry[2].counts is not None])
        _add_biases(logits, shaped)
        _mask(logits, [(row, shaping.grammar) for row, _, shaping in shaped if shaping.grammar is not None])
    return logits


def _penalised(params: SamplingParams) -> bool:
    return params.repetition_penalty != 1.0 or params.presence_penalty != 0.0 or params.frequency_penalty != 0.0


def _penalise(logits: Tensor, shaped: Shaped) -> None:
    tables = [shaping.counts for _, _, shaping in shaped if shaping.counts is not None]
    if not tables:
        return
    lengths = [len(table.ids) for table in tables]

    def spread(values: list[float]) -> Tensor:
        return torch.from_numpy(np.repeat(np.array(values, dtype=np.float32), lengths)).to(logits.device)

    rows = spread([row for row, _, _ in shaped]).long()
    ids = _joined([table.ids for table in tables]).to(logits.device)
    counts = _joined([table.counts for table in tables]).to(logits.device)
    repetition = spread([seq.params.repetition_penalty for _, seq, _ in shaped])
    values = logits[rows, ids]
    values = torch.where(values > 0, values / repetition, values * repetition)
    values -= spread([seq.params.frequency_penalty for _, seq, _ in shaped]) * counts
    values -= spread([seq.params.presence_penalty for _, seq, _ in shaped]) * (counts > 0)
    logits[rows, ids] = values


def _joined(arrays: list[array[int]]) -> Tensor:
    return torch.from_numpy(np.concatenate([np.frombuffer(numbers, dtype=np.int32) for numbers in arrays]))


def _add_biases(logits: Tensor, shaped: Shaped) -> None:
    rows: list[int] = []
    biases: list[tuple[int, float]] = []
    for row, seq, shaping in shaped:
        own = shaping.bias | shaping.ends if seq.num_output < seq.params.min_tokens else shaping.bias
        biases += own.items()
        rows += [row] * len(own)
    if biases:
        ids, values = zip(*biases, strict=True)
        device = logits.device
        logits[torch.tensor(rows, device=device), torch.tensor(ids, device=device)] += torch.tensor(
            values, device=device
        )


def _mask(logits: Tensor, guided: list[tuple[int, Grammar]]) -> None:
    """Set every token to -inf that its row's grammar does not allow next."""
    if not guided:
        return
    vocabulary = logits.shape[1]
    bits: npt.NDArray[np.int32] = np.zeros((len(guided), -(-vocabulary // 32)), dtype=np.int32)
    for own, (_, grammar) in zip(bits, guided, strict=True):
        grammar.fill(own)
    allowed = np.unpackbits(bits.view(np.uint8), axis=1, count=vocabulary, bitorder="little")
    rows = torch.tensor([row for row, _ in guided], device=logits.device)
    denied = torch.from_numpy(allowed == 0).to(logits.device)
    logits[rows] = logits[rows].masked_fill_(denied, float("-inf"))
