"""A safetensors file, written as its tensors come: none has to be in memory as a whole.

The layout: https://huggingface.co/docs/safetensors: the header's length in eight bytes, the header in JSON,
the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .tensors import Weight

ALIGNED = 8


def write_weights(path: Path, weights: Sequence[Weight], about: dict[str, str], tell: Callable[[int], None]) -> None:
    """``tell`` hears of the bytes as they are written. ``about``: texts for the header."""
    with path.open("wb") as file:
        file.write(_header(weights, about))
        for weight in weights:
            for piece in weight.pieces():
                file.write(np.ascontiguousarray(piece).data)
                tell(piece.nbytes)


def _header(weights: Sequence[Weight], about: dict[str, str]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt", **about}}
    begin = 0
    for weight in weights:
        places = [begin, begin + weight.size]
        header[weight.name] = {"dtype": weight.dtype, "shape": weight.shape, "data_offsets": places}
        begin += weight.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNED)
    return len(text).to_bytes(8, "little") + text
