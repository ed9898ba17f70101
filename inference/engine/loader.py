"""What a model's folder says of the model."""

from __future__ import annotations

import hashlib
import json
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


def end_tokens(path: Path, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: by the generation configuration, else the model's, and by the tokenizer."""
    stated = read_json(path / "generation_config.json") or read_json(path / "config.json")
    named = stated.get("eos_token_id")
    ids = named if isinstance(named, list) else [named]
    return frozenset(int(token) for token in (*ids, tokenizer.eos_token_id) if token is not None)


def load_tokenizer(path: Path) -> Any:
    """As ``AutoTokenizer`` does. That reads the model's configuration for little but its type, through a class whose
    import takes 150 MB, so it is given one.
    """
    from transformers import AutoTokenizer, PreTrainedConfig

    given: dict[str, Any] = {}
    if read_json(path / "tokenizer_config.json").get("tokenizer_class"):
        config: Any = PreTrainedConfig()
        config.model_type = read_json(path / "config.json").get("model_type", "")
        given["config"] = config
    return AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True, **given)


def read_json(file: Path) -> dict[str, Any]:
    """Empty where there is no such file."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found
