"""Batches for training: conversations of like length side by side, padded on the right."""

import random
from collections.abc import Iterator
from itertools import islice

import torch
from transformers import PreTrainedTokenizerFast

from .architecture import CONTEXT
from .corpus import conversations
from .tokenizer import encode

POOL = 768  # conversations that are sorted by length together
Row = tuple[list[int], list[bool]]
Batch = tuple[torch.Tensor, torch.Tensor]
"""``ids`` and ``targets``, int64 of shape [rows, length]; a target of -100 is not learned."""


def batches(
    tokenizer: PreTrainedTokenizerFast, seed: int, batch_tokens: int, *, held_out: bool = False
) -> Iterator[Batch]:
    """Batches without end of at most ``batch_tokens`` tokens, padding included; seeded."""
    rng = random.Random(seed)
    stream = conversations(seed, held_out=held_out)
    rows = (encode(tokenizer, item) for item in stream)
    fitting = (row for row in rows if len(row[0]) <= CONTEXT)
    while True:
        groups = _group(sorted(islice(fitting, POOL), key=lambda row: len(row[0])), batch_tokens)
        rng.shuffle(groups)
        yield from (_pad(group, tokenizer.pad_token_id) for group in groups)


def _group(rows: list[Row], batch_tokens: int) -> list[list[Row]]:
    """Rows by ascending length in groups whose padded size stays within the budget."""
    groups: list[list[Row]] = [[]]
    for row in rows:
        if (len(groups[-1]) + 1) * len(row[0]) > batch_tokens:
            groups.append([])
        groups[-1].append(row)
    return groups


def _pad(rows: list[Row], pad: int) -> Batch:
    length = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), length), pad)
    targets = torch.full((len(rows), length), -100)
    for place, (row, own) in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        targets[place, : len(row) - 1] = torch.where(torch.tensor(own[1:]), torch.tensor(row[1:]), -100)
    return ids, targets
