"""A model that embeds, whole: texts to tokens, tokens to vectors of length 1."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as nn

from ..errors import UnsupportedModel
from .bert import Bert, Group, group_lengths
from .folder import TOKENIZER, WEIGHTS, ModelFolder

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text's tokens; ``is_cut``: there were more than the model reads."""

    token_ids: list[int]
    is_cut: bool


class Embedder:
    """``device`` is torch's word, or ``auto``. Computes in float32: bfloat16 moves vectors by more than a few 1e-5."""

    def __init__(self, folder: ModelFolder, device: str = "auto") -> None:
        self.folder = folder
        self.revision = _digest(folder.path / WEIGHTS)
        self._tokenizer = _load_tokenizer(folder)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._bert = Bert(folder, _load_weights(folder.path / WEIGHTS, device))

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Half a character in a text, which nothing can spell, is read as U+FFFD."""
        texts = [self._prepared(text) for text in texts]
        encodings = self._tokenizer.encode_batch(texts)
        return [Encoded(encoding.ids, bool(encoding.overflowing)) for encoding in encodings]

    @torch.inference_mode()
    def embed(self, token_ids: Sequence[list[int]]) -> Vectors:
        """``[n, dimensions]``, one vector for each text, in their order."""
        if not token_ids:
            return np.zeros((0, self.folder.dimensions), np.float32)
        order = sorted(range(len(token_ids)), key=lambda place: len(token_ids[place]))
        lengths = [len(token_ids[place]) for place in order]
        groups, device = group_lengths(lengths), self._bert.device
        tokens = torch.tensor([token for place in order for token in token_ids[place]], device=device)
        places = torch.cat([torch.arange(length) for length in lengths]).to(device)
        pooled = self._pool(self._bert(tokens, places, groups), groups)
        vectors = torch.empty_like(pooled)
        vectors[torch.tensor(order, device=device)] = nn.normalize(pooled, dim=-1)
        return vectors.cpu().numpy()

    def _pool(self, states: Tensor, groups: Sequence[Group]) -> Tensor:
        rows = (group.rows(states) for group in groups)
        match self.folder.pooling:
            case "mean":
                return torch.cat([row.mean(1) for row in rows])
            case "max":
                return torch.cat([row.amax(1) for row in rows])
            case "cls":
                return torch.cat([row[:, 0] for row in rows])

    def _prepared(self, text: str) -> str:
        text = self.folder.prompt + text
        text = text.lower() if self.folder.lower else text
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _load_tokenizer(folder: ModelFolder) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder.path / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(folder.longest)
    if not tokenizer.encode("").ids:
        raise UnsupportedModel("The model's tokenizer has no tokens for an empty text.")
    return tokenizer


def _load_weights(path: Path, device: str) -> dict[str, Tensor]:
    try:
        tensors = load_file(path, device=device)
    except SafetensorError as error:
        raise UnsupportedModel(f"{path.name} cannot be read: {error}") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _digest(path: Path) -> str:
    """Which weights these are, as far as sixteen letters can tell."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
