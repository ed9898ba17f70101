"""What a model is called, and what its files say it is. Reads headers alone, and needs no torch.

A name is for programs (``smollm2-135m-instruct``), a label for people (``SmolLM2 135M Instruct``). Both come from what
the model's folder, file or hub name is called, since people know it by that; what the files call themselves is asked
where that says nothing. Neither is ever a path.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import InferenceError
from .gguf_header import Header, is_gguf, read_header
from .messages import WorkerReport

LONGEST, LONGEST_HEADER = 80, 100 << 20
ENDINGS = re.compile(
    r"(?:-\d{5}-of-\d{5})?\.gguf$"  # one of several parts too
    r"|[-._](?:i1[-._])?(?:I?Q\d(?:_[0-9A-Z]+)*|F16|F32|BF16|FP16|FP32)$"  # how it was quantized
    r"|[-._](?:gguf|safetensors)$",
    re.IGNORECASE,
)
HUB_FOLDER = re.compile(r"(?:^|/)models--(?:[^/]+--)?([^/]+)/snapshots/[^/]+/?$")
NOTHING = re.compile(  # names that tell nothing
    r"(?:hf|huggingface|model|models|ggml-model|weights|checkpoint|final|merged|output|snapshot|gguf|latest|data|tmp)?"
    r"(?:[-_.]?\d+)?|[0-9a-f]{12,64}",
    re.IGNORECASE,
)
UNFIT = re.compile(r"[^a-z0-9._]+")
LICENSE = re.compile(r"\A---\n(?:.*\n)*?license:[ \t]*(\S+)")
SPELLED = {"mit": "MIT", "apache-2.0": "Apache-2.0", "other": ""}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """``license`` as its files spell it, ``parameters`` counted in them; empty and 0 where they do not tell."""

    name: str
    label: str
    license: str = ""
    parameters: int = 0


def describe_model(model: str) -> ModelCard:
    """Of a folder, a GGUF file, a folder of such, or a hub name. Never fails: the engine says what is wrong with it."""
    path = Path(model).expanduser()
    if not path.exists():
        return _named(next(_candidates(model, str(path.parent)), "model"))
    file = _gguf(path)
    read: Callable[[Path], tuple[str, str, int]] = _read_gguf if file else _read_folder
    try:
        own, license_, parameters = read(file or path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, InferenceError):
        own, license_, parameters = "", "", 0
    paths = str(path.absolute()), str(path.resolve())
    called = next(_candidates(*paths, own, str(path.absolute().parent)), path.absolute().name)
    return replace(_named(called), license=SPELLED.get(license_, license_)[:LONGEST], parameters=parameters)


def rename(card: ModelCard, name: str) -> ModelCard:
    """As an operator calls it, if they do."""
    return replace(card, name=name, label=name.rsplit("/", 1)[-1]) if name not in ("", card.name) else card


def introduce(report: WorkerReport, card: ModelCard) -> WorkerReport:
    """With what people and programs are to call its model, and what it is."""
    return replace(report, model=card.name, label=card.label, license=card.license, parameters=card.parameters)


def _named(called: str) -> ModelCard:
    label = " ".join(re.split(r"[-_\s]+", called)).strip()[:LONGEST]
    return ModelCard(UNFIT.sub("-", called.lower()).strip("-")[:LONGEST] or "model", label or "Model")


def _candidates(*called: str) -> Iterator[str]:
    """Of each the last part, without what says how it was packed, where that tells something."""
    for words in called:
        if hub := HUB_FOLDER.search(words):
            yield hub[1]
        if not NOTHING.fullmatch(bare := _bare(words.rstrip("/").rsplit("/", 1)[-1])):
            yield bare


def _bare(name: str) -> str:
    while (shorter := ENDINGS.sub("", name)) != name:
        name = shorter
    return name


def _gguf(path: Path) -> Path | None:
    if path.is_file():
        return path if is_gguf(path) else None
    files = sorted(path.glob("*.gguf"))
    return files[0] if files and not any(path.glob("*.safetensors")) else None


def _read_gguf(file: Path) -> tuple[str, str, int]:
    first, *_ = headers = [read_header(part) for part in _parts(file)]
    own, license_ = (str(first.values.get(f"general.{key}", "")) for key in ("name", "license"))
    return own, license_, sum(map(_count, headers))


def _parts(file: Path) -> list[Path]:
    """All of a split file, the first of which describes it."""
    split = re.fullmatch(r"(.*)-\d{5}-of-(\d{5})\.gguf", file.name)
    return sorted(file.parent.glob(f"{split[1]}-*-of-{split[2]}.gguf")) if split else [file]


def _count(header: Header) -> int:
    return sum(math.prod(tensor.shape) for tensor in header.tensors)


def _read_folder(folder: Path) -> tuple[str, str, int]:
    config = json.loads((folder / "config.json").read_text())
    card = folder / "README.md"
    said = LICENSE.match(card.read_text(errors="replace")) if card.exists() else None
    packed = "quantization_config" in config  # several numbers in one, which the headers do not tell
    counted = 0 if packed else sum(map(_count_safetensors, folder.glob("*.safetensors")))
    return str(config.get("_name_or_path", "")), said[1].strip("\"'") if said else "", counted


def _count_safetensors(file: Path) -> int:
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\0"))
        header: dict[str, Any] = json.loads(stream.read(min(length, LONGEST_HEADER)))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
