"""The files of one model: one, or several that were split by ``llama-gguf-split``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import ModelNotFound, UnsupportedModel
from ....gguf_header import TensorInfo, read_header

PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
NUMBER, COUNT = "split.no", "split.count"


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies."""

    info: TensorInfo
    file: Path


@dataclass(frozen=True, slots=True)
class Contents:
    """The values of a model's first file, and the tensors of all by their names."""

    values: dict[str, Any]
    tensors: dict[str, Tensor]


def find_parts(file: Path) -> list[Path]:
    """All files of the model that ``file`` is a part of, the first first. Raises ``ModelNotFound`` for one that lacks.

    They stand beside each other and differ by their number alone, whatever is written in them.
    """
    name = PART.fullmatch(file.name)
    if name is None:
        return [file]
    count = int(name[3])
    parts = [file.with_name(f"{name[1]}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
    if lacking := [part.name for part in parts if not part.is_file()]:
        raise ModelNotFound(f"{file.name} is one of {count} parts; {lacking[0]} is not beside it.")
    if not parts:
        raise ModelNotFound(f"{file.name} calls itself one of no parts.")
    return parts


def read_parts(parts: Sequence[Path]) -> Contents:
    """Raises ``UnsupportedModel`` when the parts are not of one model."""
    headers = [read_header(part) for part in parts]
    tensors: dict[str, Tensor] = {}
    for number, (part, header) in enumerate(zip(parts, headers, strict=True)):
        told = header.values.get(NUMBER, 0), header.values.get(COUNT, len(parts)) or len(parts)
        if told != (number, len(parts)):
            raise UnsupportedModel(f"{part.name} says that it is part {told[0]} (from 0) of {told[1]}.")
        for info in header.tensors:
            if info.name in tensors:
                raise UnsupportedModel(f"{part.name} has {info.name[:80]}, which another part has too.")
            tensors[info.name] = Tensor(info, part)
    return Contents(headers[0].values, tensors)
