"""What a GGUF file says of itself: its values, and which tensors lie where. Nothing of it is trusted.

The layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every length is held against what is left of the
file before it is believed, so a damaged or hostile header costs a sentence and no memory.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UnsupportedModel

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_DIMENSIONS, MOST_NESTED = 4, 2
LARGEST_TENSOR = 1 << 44  # numbers; a tensor of 16 trillion is a damaged header
ALIGNMENT, LARGEST_ALIGNMENT = 32, 1 << 16
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
SHORTEST_VALUE, SHORTEST_TENSOR = (
    13,
    32,
)  # bytes: key's length, type and a byte; name's length, a dimension, type, place


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """``shape`` is in rows, as torch has it. ``kind`` is ggml's number of the type, ``start`` a place in the file."""

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True, slots=True)
class Header:
    """``end`` is where the header ends; the tensors lie behind it."""

    values: dict[str, Any]
    tensors: tuple[TensorInfo, ...]
    end: int


def is_gguf(path: Path) -> bool:
    """By its first four bytes, whatever it is called."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_header(path: Path) -> Header:
    """Raises ``UnsupportedModel`` with what is wrong with the file."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise UnsupportedModel(f"{path.name} is not a GGUF file.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data, path.name).header()


class _Reader:
    def __init__(self, data: mmap.mmap, name: str) -> None:
        self._data, self._name, self._at = data, name, len(MAGIC)

    def header(self) -> Header:
        self._check_version(self._number("I"))
        tensors, values = self._number("Q"), self._number("Q")
        self._require(tensors, SHORTEST_TENSOR)
        self._require(values, SHORTEST_VALUE)
        known = dict(self._pair() for _ in range(values))
        found = [self._tensor() for _ in range(tensors)]
        if len({tensor.name for tensor in found}) < len(found):
            raise self._damaged("two of its tensors have one name")
        return Header(known, self._placed(found, known), self._at)

    def _check_version(self, version: int) -> None:
        if version in VERSIONS:
            return
        if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
            raise UnsupportedModel(f"{self._name} is in big-endian order, which is not read.")
        raise UnsupportedModel(f"{self._name} is GGUF version {version}; versions 2 and 3 are read.")

    def _pair(self) -> tuple[str, Any]:
        return self._string(), self._value(self._number("I"))

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            return self._array(depth + 1)
        if kind not in FORMATS:
            raise self._damaged(f"it has a value of type {kind}, which does not exist")
        return self._number(FORMATS[kind])

    def _array(self, depth: int) -> tuple[Any, ...]:
        kind, count = self._number("I"), self._number("Q")
        if depth > MOST_NESTED:
            raise self._damaged("its lists are nested too deep")
        if kind in FORMATS:
            return self._numbers(FORMATS[kind], count)
        self._require(count, 8)
        return tuple(self._value(kind, depth) for _ in range(count))

    def _tensor(self) -> TensorInfo:
        name, dimensions = self._string(), self._number("I")
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise self._damaged(f"{name[:80]} has {dimensions} dimensions")
        shape = tuple(reversed(self._numbers("Q", dimensions)))
        kind, start = self._number("I"), self._number("Q")
        numbers = 1
        for length in shape:
            numbers *= length
        if not 1 <= numbers <= LARGEST_TENSOR:
            raise self._damaged(f"{name[:80]} would have {numbers:,} numbers")
        return TensorInfo(name, shape, kind, start)

    def _placed(self, tensors: list[TensorInfo], values: dict[str, Any]) -> tuple[TensorInfo, ...]:
        """With their places counted from the file's beginning. Whether all of each is there, its type tells."""
        step = values.get("general.alignment", ALIGNMENT)
        if not isinstance(step, int) or not 0 < step <= LARGEST_ALIGNMENT or step % 8:
            raise self._damaged(f"its alignment is {step!r}")
        begin = -(-self._at // step) * step
        for tensor in tensors:
            if begin + tensor.start >= len(self._data):
                raise self._cut_off()
        return tuple(TensorInfo(each.name, each.shape, each.kind, begin + each.start) for each in tensors)

    def _string(self) -> str:
        length = self._number("Q")
        return self._take(length).decode("utf-8", "replace")

    def _number(self, form: str) -> Any:
        return self._numbers(form, 1)[0]

    def _numbers(self, form: str, count: int) -> tuple[Any, ...]:
        self._require(count, struct.calcsize(form))
        form = f"<{count}{form}"
        return struct.unpack(form, self._take(struct.calcsize(form)))

    def _take(self, length: int) -> bytes:
        self._require(length, 1)
        self._at += length
        return self._data[self._at - length : self._at]

    def _require(self, count: int, size: int) -> None:
        """There is room for ``count`` things of ``size`` bytes or more."""
        if count * size > len(self._data) - self._at:
            raise self._cut_off()

    def _cut_off(self) -> UnsupportedModel:
        return self._damaged(f"it ends after {len(self._data):,} bytes, in the middle")

    def _damaged(self, what: str) -> UnsupportedModel:
        return UnsupportedModel(f"{self._name} is damaged or not wholly there: {what}. Get the file again.")
