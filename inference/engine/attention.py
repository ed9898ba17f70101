"""Attention over the paged cache in plain torch: the reference.

A step runs one packed forward of ``[T]`` tokens, decodes and prefill chunks side by side. In each
layer the new keys and values are written to their slots first; then sequences of similar shape are
gathered into one padded batch and attended in one call, so the number of calls grows with the
logarithm of the lengths, not with the number of sequences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .transfer import send


class Attending(NamedTuple):
    """By what layers differ: ``scale`` of scores, ``window`` with the token itself, ``softcap`` to squash scores."""

    scale: float
    window: int | None = None
    softcap: float | None = None


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What a layer keeps of a token, and how it attends."""

    kv_heads: int
    key_dim: int
    value_dim: int
    how: Attending


class AttentionContext(Protocol):
    """One step's attention: writes its keys and values to the cache, and attends."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: Attending) -> Tensor:
        """``query`` [T, heads, D], ``key`` and ``value`` [T, kv_heads, D] -> [T, heads, D of value]."""


class KVCache:
    """Keys and values of all layers, ``[num_blocks, block_size, kv_heads, head_dim]`` each.

    Starts as zeros, not as whatever the memory held: a masked slot has weight zero, and zero times NaN
    is NaN.
    """

    def __init__(self, shapes: dict[int, LayerShape], num_blocks: int, block_size: int, like: Tensor) -> None:
        self.num_blocks, self.block_size = num_blocks, block_size
        self._lay_out(shapes, lambda n, *size: like.new_zeros(n, num_blocks, block_size, *size))

    def _lay_out(self, shapes: dict[int, LayerShape], zeros: Callable[[int, int, int], Tensor]) -> None:
        """Keys and values as parts of ``zeros(parts, kv_heads, dim)``: one operation wipes a block in all layers."""
        sizes = Counter((s.kv_heads, dim) for s in shapes.values() for dim in (s.key_dim, s.value_dim))
        self._stores = {size: zeros(parts, *size) for size, parts in sizes.items()}
        left = {size: iter(store) for size, store in self._stores.items()}
        self.keys = {n: next(left[s.kv_heads, s.key_dim]) for n, s in shapes.items()}
        self.values = {n: next(left[s.kv_heads, s.value_dim]) for n, s in shapes.items()}

    def write(self, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> None:
        """Store ``key`` and ``value`` [T, kv_heads, D] at ``slots`` [T] = block id * block size + offset."""
        self.keys[layer].flatten(0, 1).index_copy_(0, slots, key)
        self.values[layer].flatten(0, 1).index_copy_(0, slots, value)

    def read(self, layer: int, block_ids: Tensor, num_seqs: int, length: int) -> tuple[Tensor, Tensor]:
        """The first ``length`` positions of S equally long block lists: [S, kv_heads, length, D]."""

        def gather(cache: Tensor) -> Tensor:
            blocks = cache.index_select(0, block_ids)
            return blocks.view(num_seqs, -1, *cache.shape[2:])[:, :length].transpose(1, 2)

        return gather(self.keys[layer]), gather(self.values[layer])

    def wipe(self, block_ids: list[int]) -> None:
        """Zero blocks that may hold values that are not finite: in one operation for each shape of a layer."""
        if not block_ids:
            return
        first, *_ = self._stores.values()
        index = send(np.array(block_ids), first.device)
        for store in self._stores.values():
            store.index_fill_(1, index, 0)


@dataclass(slots=True)
class Group:
    """``S`` sequences of similar shape, padded to ``Q`` queries and ``L`` keys.

    rows: [S * Q] rows of the packed queries, or ``None`` when the group is the whole batch in order.
    positions: [S, Q] of the queries in their sequences. block_ids: [S * blocks]. Padding repeats a
    sequence's last query, so that its result is written twice instead of needing a mask.
    ``aligned``: every last query sees every key, so that one query needs no mask, and as many queries as
    keys need torch's own triangular one.
    """

    rows: Tensor | None
    positions: Tensor
    block_ids: Tensor
    key_length: int
    aligned: bool
    masks: dict[int | None, Tensor | None] = field(default_factory=dict)

    def mask(self, window: int | None, like: Tensor) -> Tensor | None:
        """[S, 1, Q, L], zero where a query may look and -inf elsewhere; made once per step and window."""
        if window is not None and window >= self.key_length:
            window = None
        if window not in self.masks:
            self.masks[window] = None if self.aligned and window is None else self._mask(window, like)
        return self.masks[window]

    def _mask(self, window: int | None, like: Tensor) -> Tensor:
        keys = torch.arange(self.key_length, device=self.positions.device)
        queries = self.positions[:, None, :, None]
        hidden = keys > queries
        if window is not None:
            hidden |= keys <= queries - window
        return like.new_zeros(hidden.shape).masked_fill_(hidden, float("-inf"))


@dataclass(frozen=True, slots=True)
class PagedContext:
    """One step's attention: where new keys go (``slots`` [T]) and what each group of sequences sees."""

    cache: KVCache
    slots: Tensor
    groups: list[Group]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: Attending) -> Tensor:
        self.cache.write(layer, self.slots, key, value)
        if self.groups[0].rows is None:
            return self._attend_group(self.groups[0], layer, query, how)
        output = query.new_empty(*query.shape[:2], value.shape[-1])
        for group in self.groups:
            assert group.rows is not None
            output.index_copy_(0, group.rows, self._attend_group(group, layer, query.index_select(0, group.rows), how))
        return output

    def _attend_group(self, group: Group, layer: int, query: Tensor, how: Attending) -> Tensor:
        num_seqs, num_queries = group.positions.shape
        keys, values = self.cache.read(layer, group.block_ids, num_seqs, group.key_length)
        padded = query.view(num_seqs, num_queries, *query.shape[1:]).transpose(1, 2)
        mask = group.mask(how.window, like=query)
        if how.softcap is not None:
            output = _softcapped(padded, keys, values, mask, how)
        elif num_queries == 1:
            output = _decode(padded, keys, values, mask, how.scale)
        else:
            output = functional.scaled_dot_product_attention(
                padded, keys, values, mask, is_causal=mask is None, scale=how.scale, enable_gqa=True
            )
        return output.transpose(1, 2).flatten(0, 1)


def _decode(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """``query`` [S, heads, 1, D]. Query heads that share a key head become queries of that head.

    That is the same arithmetic without repeating keys and values, and the quicker of the two.
    """
    heads, kv_heads = query.shape[1], keys.shape[1]
    shared = query.reshape(len(query), kv_heads, heads // kv_heads, -1)
    output = functional.scaled_dot_product_attention(shared, keys, values, mask, scale=scale)
    return output.reshape(len(query), heads, 1, -1)


def _softcapped(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, how: Attending) -> Tensor:
    """Attention with scores squashed to ``softcap * tanh(score / softcap)``, as in Gemma 2."""
    assert how.softcap is not None
    repeats = query.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(repeats, 1), values.repeat_interleave(repeats, 1)
    scores = torch.tanh(query @ keys.transpose(2, 3) * (how.scale / how.softcap)) * how.softcap
    if mask is None:
        queries, length = scores.shape[2:]
        mask = torch.full_like(scores[0, 0], float("-inf")).triu(length - queries + 1)
    weights = (scores + mask).softmax(-1, dtype=torch.float32)
    return weights.to(values.dtype) @ values
