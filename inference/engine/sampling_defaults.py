"""How a model's answers are drawn where nobody said how: what suits it, never temperature 1 over the whole vocabulary.

The first source that states it gives the temperature, and likewise the penalty; the first that states any of the cuts
gives all of them:
``generation_config.json``, then the family that the model is of, then ``SAFE``. So a model that is to be cut at
``top_k`` is not cut again by a default of ours.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .sampling_params import SamplingParams

CUTS = ("top_p", "top_k", "min_p")
ALONE = ("temperature", "repetition_penalty")
SAFE: Mapping[str, float] = {"temperature": 0.7, "top_p": 0.9, "min_p": 0.05}
SOLID = re.compile(r"[^a-z0-9]+")
# What the makers recommend, by how a model calls itself: in letters and digits alone, the first that is found. Versions
# that differ stand before those that do not.
FAMILIES: tuple[tuple[str, Mapping[str, float]], ...] = (
    ("smollm3", {"temperature": 0.6, "top_p": 0.95}),
    (
        "smollm",
        {"temperature": 0.2, "top_p": 0.9, "repetition_penalty": 1.1},
    ),  # without it the small ones go in circles
    ("deepseekr1", {"temperature": 0.6, "top_p": 0.95}),
    ("qwq", {"temperature": 0.6, "top_p": 0.95, "top_k": 40}),
    ("qwen3", {"temperature": 0.6, "top_p": 0.95, "top_k": 20}),
    ("qwen2", {"temperature": 0.7, "top_p": 0.8, "top_k": 20}),
    ("gemma3", {"temperature": 1.0, "top_p": 0.95, "top_k": 64}),
    ("gemma", {"temperature": 0.7, "top_p": 0.95, "top_k": 64}),
    ("mistralsmall", {"temperature": 0.15, "top_p": 0.95}),
    ("mistralnemo", {"temperature": 0.3, "top_p": 0.95}),
    ("llama3", {"temperature": 0.6, "top_p": 0.9}),
    ("llama2", {"temperature": 0.6, "top_p": 0.9}),
)
CALLED = ("_name_or_path", "model_type")  # in config.json; a template may name its model too
LONGEST_NAME = 200


def default_sampling(path: Path, name: str = "") -> dict[str, Any]:
    """Fields of ``SamplingParams`` for the model in folder ``path`` that people call ``name``."""
    sources = (_stated(path), _family(path, name), SAFE)
    alone = {name: source[name] for source in reversed(sources) for name in ALONE if name in source}
    cuts = next(chosen for source in sources if (chosen := {cut: source[cut] for cut in CUTS if cut in source}))
    return alone | cuts


def _stated(path: Path) -> dict[str, Any]:
    """What ``generation_config.json`` says that can be meant: some files hold nulls, words and numbers out of range."""
    stated = _read(path / "generation_config.json")
    settings = {name: stated[name] for name in (*ALONE, *CUTS) if _is_setting(name, stated.get(name))}
    return settings | {"temperature": 0.0} if stated.get("do_sample") is False else settings


def _is_setting(name: str, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if name == "top_k" and value != int(value):
        return False
    try:
        SamplingParams(**{name: value})  # type: ignore[arg-type]
    except ValueError:
        return False
    return True


def _family(path: Path, name: str) -> Mapping[str, float]:
    """The settings of the first family that the model's names tell of, those that it is served under before its own."""
    for called in _names(path, name):
        solid = SOLID.sub("", called[-LONGEST_NAME:].lower())
        for family, settings in FAMILIES:
            if family in solid:
                return settings
    return {}


def _names(path: Path, name: str) -> list[str]:
    config, tokenizer = _read(path / "config.json"), _read(path / "tokenizer_config.json")
    named = [str(config[key]) for key in CALLED if config.get(key)]
    return [name, path.name, *named, _said_by(path, tokenizer)]


def _said_by(path: Path, tokenizer: Mapping[str, Any]) -> str:
    """What the chat template says that the model is: "You are … named SmolLM"."""
    file = path / "chat_template.jinja"
    template = file.read_text(errors="replace") if file.exists() else tokenizer.get("chat_template")
    found = re.search(r"\bnamed\s+(\w+)", template) if isinstance(template, str) else None
    return found[1] if found else ""


def _read(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is none."""
    read: Any = json.loads(file.read_text()) if file.exists() else {}
    return read if isinstance(read, dict) else {}
