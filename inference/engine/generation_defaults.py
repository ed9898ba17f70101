"""What a model's own files say about ending and sampling an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SAMPLING = ("temperature", "top_p", "top_k", "min_p")


def default_sampling(path: Path) -> dict[str, Any]:
    """The sampling settings in ``generation_config.json``; empty when there are none."""
    file = path / "generation_config.json"
    stated = json.loads(file.read_text()) if file.exists() else {}
    settings = {name: stated[name] for name in SAMPLING if stated.get(name) is not None}
    return {"temperature": 0.0} if stated.get("do_sample") is False else settings


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer, by the generation configuration or by the tokenizer."""
    stated = model.generation_config.eos_token_id
    ids = stated if isinstance(stated, list) else [stated]
    return frozenset(int(token) for token in (*ids, tokenizer.eos_token_id) if token is not None)
