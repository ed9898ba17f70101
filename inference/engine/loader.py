"""What a model's folder says of the model."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

SNAPSHOT = re.compile(r"/snapshots/([0-9a-f]{40})$")


def revision(path: Path) -> str:
    """12 hex digits that change when the weights do: the hub's commit, or a hash.

    The hash covers the configuration and, of each safetensors file, its header and size: reading
    gigabytes to name a model would cost more than the name is worth.
    """
    snapshot = SNAPSHOT.search(path.resolve().as_posix())
    if snapshot:
        return snapshot[1][:12]
    digest = hashlib.sha256((path / "config.json").read_bytes())
    for file in sorted(path.glob("*.safetensors")):
        digest.update(f"{file.name}:{file.stat().st_size}:".encode() + _header(file))
    return digest.hexdigest()[:12]


def _header(file: Path) -> bytes:
    """The JSON header of a safetensors file: its length in the first 8 bytes, little-endian."""
    with file.open("rb") as stream:
        return stream.read(int.from_bytes(stream.read(8), "little"))


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer, by the generation configuration or by the tokenizer."""
    stated = model.generation_config.eos_token_id
    ids = stated if isinstance(stated, list) else [stated]
    return frozenset(int(token) for token in (*ids, tokenizer.eos_token_id) if token is not None)
