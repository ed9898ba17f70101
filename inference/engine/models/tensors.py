"""Tensors by their names in a folder's *.safetensors files, without copies.

A file is mapped, and pages that were read stay in memory until they are let go: ``Tensors.let_go`` after each
part of a model keeps that to the part at hand. Format: 8 bytes with the header's length, little-endian, a header in
JSON, and the numbers.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...errors import UnsupportedModel

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
EMPTY, LONGEST_HEADER = len("{}"), 100 << 20  # as in the safetensors library


class Place(NamedTuple):
    """Where a tensor lies: the number of its file, and its first byte there. dtype: as in the header."""

    file: int
    start: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


class Tensors:
    """Raises ``UnsupportedModel`` for files that are damaged, and for two tensors of one name."""

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob("*.safetensors"))
        if not self._files:
            raise UnsupportedModel(
                f"{folder.name} has no *.safetensors weights; other formats can run code when loaded."
            )
        self.places: dict[str, Place] = {}
        self._maps: dict[int, mmap.mmap] = {}
        for number, file in enumerate(self._files):
            for name, place in _places(number, file):
                if name in self.places:
                    raise UnsupportedModel(f"{folder.name} has two tensors {name}.")
                self.places[name] = place

    def __getitem__(self, name: str) -> Tensor:
        """In its stored type, good until ``let_go``."""
        place = self.places[name]
        if not math.prod(place.shape):
            return torch.empty(place.shape, dtype=DTYPES[place.dtype])
        count = math.prod(place.shape)
        flat = torch.frombuffer(self._map(place.file), dtype=DTYPES[place.dtype], count=count, offset=place.start)
        return flat.view(place.shape)

    def let_go(self) -> None:
        """Forget the pages read so far; nothing of them may be used again."""
        for mapped in self._maps.values():
            mapped.madvise(mmap.MADV_DONTNEED)

    def _map(self, number: int) -> mmap.mmap:
        if number not in self._maps:
            with self._files[number].open("rb") as stream:
                # Private and writable, since torch takes nothing else. Nobody writes.
                self._maps[number] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        return self._maps[number]


def _places(number: int, file: Path) -> Iterator[tuple[str, Place]]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not EMPTY <= length <= min(LONGEST_HEADER, size - 8):
            raise UnsupportedModel(f"{file.name} is not a whole safetensors file.")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise UnsupportedModel(f"{file.name} is not a safetensors file: {error}") from error
    for name, entry in header.items():
        if name != "__metadata__":
            yield name, _place(number, file, entry, 8 + length, size)


def _place(number: int, file: Path, entry: Any, base: int, size: int) -> Place:
    begin, end = entry["data_offsets"]
    place = Place(number, base + begin, entry["dtype"], tuple(entry["shape"]))
    fits = 0 <= begin <= end <= size - base
    if not fits or (place.dtype in DTYPES and place.num_bytes != end - begin):
        raise UnsupportedModel(f"{file.name} is not a whole safetensors file.")
    return place
