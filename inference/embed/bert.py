"""BERT over packed tokens: the texts of a batch lie one behind the other, and none is padded.

Everything but attention looks at tokens by themselves, so that only attention has to know where a text ends. Texts
come ordered by length: those of one length attend as one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as nn

from ..errors import UnsupportedModel
from .folder import ModelFolder

PREFIXES = ("", "bert.")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.gelu,
    "gelu_new": lambda x: nn.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: nn.gelu(x, approximate="tanh"),
    "relu": nn.relu,
    "silu": nn.silu,
}

Pair = tuple[Tensor, Tensor]  # weight and bias


@dataclass(frozen=True, slots=True)
class Group:
    """``count`` texts of ``length`` tokens, whose first token stands at ``start``."""

    start: int
    count: int
    length: int

    def rows(self, tokens: Tensor) -> Tensor:
        """``[T, …]`` to ``[count, length, …]`` of these texts."""
        end = self.start + self.count * self.length
        return tokens[self.start : end].view(self.count, self.length, *tokens.shape[1:])


@dataclass(frozen=True, slots=True)
class Layer:
    qkv: Pair
    out: Pair
    out_norm: Pair
    up: Pair
    down: Pair
    down_norm: Pair


class Bert:
    """``tensors`` by the names of a checkpoint. Raises ``UnsupportedModel`` when one is missing."""

    def __init__(self, folder: ModelFolder, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._prefix = next((p for p in PREFIXES if f"{p}embeddings.word_embeddings.weight" in tensors), "")
        self._size, self._heads, self._epsilon = folder.dimensions, folder.heads, folder.epsilon
        self._activation = ACTIVATIONS[folder.activation]
        self._words = self._tensor("embeddings.word_embeddings.weight")
        # Every text is of the first type, so that its vector is a part of each place's.
        self._places = (
            self._tensor("embeddings.position_embeddings.weight")
            + self._tensor("embeddings.token_type_embeddings.weight")[0]
        )
        self._norm = self._pair("embeddings.LayerNorm")
        self._layers = [self._layer(f"encoder.layer.{number}") for number in range(folder.layers)]
        self._tensors = {}

    @property
    def device(self) -> torch.device:
        return self._words.device

    def __call__(self, token_ids: Tensor, places: Tensor, groups: Sequence[Group]) -> Tensor:
        """Tokens ``[T]`` and their places in their texts to states ``[T, size]``."""
        x = self._normed(self._words[token_ids] + self._places[places], self._norm)
        for layer in self._layers:
            x = self._normed(x + nn.linear(self._attend(nn.linear(x, *layer.qkv), groups), *layer.out), layer.out_norm)
            x = self._normed(x + nn.linear(self._activation(nn.linear(x, *layer.up)), *layer.down), layer.down_norm)
        return x

    def _attend(self, qkv: Tensor, groups: Sequence[Group]) -> Tensor:
        """``[T, 3 · size]`` to ``[T, size]``: each token looks at all those of its text."""
        out = qkv.new_empty(len(qkv), self._size)
        for group in groups:
            rows = group.rows(qkv).view(group.count, group.length, 3, self._heads, self._size // self._heads)
            q, k, v = rows.permute(2, 0, 3, 1, 4)
            group.rows(out).copy_(nn.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out

    def _normed(self, x: Tensor, norm: Pair) -> Tensor:
        return nn.layer_norm(x, (self._size,), *norm, eps=self._epsilon)

    def _layer(self, name: str) -> Layer:
        parts = [self._pair(f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
        return Layer(
            qkv=(torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])),
            out=self._pair(f"{name}.attention.output.dense"),
            out_norm=self._pair(f"{name}.attention.output.LayerNorm"),
            up=self._pair(f"{name}.intermediate.dense"),
            down=self._pair(f"{name}.output.dense"),
            down_norm=self._pair(f"{name}.output.LayerNorm"),
        )

    def _pair(self, name: str) -> Pair:
        return self._tensor(f"{name}.weight"), self._tensor(f"{name}.bias")

    def _tensor(self, name: str) -> Tensor:
        try:
            return self._tensors[self._prefix + name]
        except KeyError:
            raise UnsupportedModel(f"The model's weights lack {name}.") from None


def group_lengths(lengths: Sequence[int]) -> list[Group]:
    """Of texts in order of length."""
    groups: list[Group] = []
    start = 0
    for length, same in groupby(lengths):
        count = len(list(same))
        groups.append(Group(start, count, length))
        start += count * length
    return groups
