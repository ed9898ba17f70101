"""How a model's queries and keys are rotated, from its configuration; the frequencies are transformers' own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from ..ops import Frequencies

# What each kind must say, and what it may; transformers' "proportional" and several positions per token are not among
# them.
KINDS: dict[str, tuple[set[str], set[str]]] = {
    "default": (set(), set()),
    "linear": ({"factor"}, set()),
    "dynamic": ({"factor"}, {"original_max_position_embeddings"}),
    "llama3": ({"factor", "low_freq_factor", "high_freq_factor"}, {"original_max_position_embeddings"}),
    "yarn": (
        {"factor"},
        {"attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"}
        | {"original_max_position_embeddings"},
    ),
    "longrope": (
        {"short_factor", "long_factor"},
        {"factor", "attention_factor", "original_max_position_embeddings"},
    ),
}
ALWAYS = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}


class NotKnown(Exception):
    """The decoder does not compute this model; the text ends a sentence that says so."""


@dataclass(frozen=True, slots=True)
class Rope:
    """One way of rotating: ``parameters`` as transformers has them, after its defaults."""

    parameters: Mapping[str, Any]
    head_dim: int
    max_position_embeddings: int | None

    def frequencies(self, device: torch.device) -> Frequencies:
        kind, theta = self.parameters["rope_type"], self.parameters["rope_theta"]
        if kind == "default":
            rotary = int(self.head_dim * self.parameters.get("partial_rotary_factor", 1.0))
            return Frequencies(
                1.0 / (theta ** (torch.arange(0, rotary, 2, dtype=torch.float) / rotary)).to(device), 1.0
            )
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        config: Any = SimpleNamespace(
            rope_parameters=dict(self.parameters),
            head_dim=self.head_dim,
            hidden_size=self.head_dim,
            num_attention_heads=1,
            max_position_embeddings=self.max_position_embeddings,
            standardize_rope_params=lambda: None,
        )
        inverse, scale = ROPE_INIT_FUNCTIONS[kind](config)
        return Frequencies(inverse.float().to(device), float(scale))


def read_rope(
    kind: str, settings: Mapping[str, Any], types: tuple[str, ...]
) -> tuple[tuple[Rope, ...], tuple[int | None, ...], int | None]:
    """The ropes of a model, which of them each layer has, and the longest sequence they are good for."""
    given = dict(settings["rope_scaling"] or settings["rope_parameters"] or {})
    limit = settings["max_position_embeddings"]
    if kind != "gemma3_text":
        rope = _rope(kind, given, settings["rope_theta"], settings)
        kinds = tuple(0 if rotates(settings, layer) else None for layer in range(len(types)))
        return (rope,), kinds, _limit(rope, limit)
    if settings["rope_scaling"]:
        given = {**(settings["rope_parameters"] or {}), "full_attention": given}
    if not set(given) <= {"full_attention", "sliding_attention"}:
        raise NotKnown("it does not know how its layers are rotated")
    full = _rope(kind, dict(given.get("full_attention") or {}), settings["rope_theta"], settings)
    local = _rope(kind, dict(given.get("sliding_attention") or {}), settings["rope_local_base_freq"], settings)
    return (full, local), tuple(int(each == "sliding_attention") for each in types), _limit(full, limit)


def rotates(settings: Mapping[str, Any], layer: int) -> bool:
    """SmolLM3 leaves every fourth layer without positions, or those that ``no_rope_layers`` has a 0 for."""
    if "no_rope_layer_interval" not in settings:
        return True
    if settings["no_rope_layers"] is None:
        return bool((layer + 1) % settings["no_rope_layer_interval"])
    return bool(settings["no_rope_layers"][layer])


def _rope(kind: str, given: dict[str, Any], theta: float, settings: Mapping[str, Any]) -> Rope:
    given["rope_type"] = given.get("rope_type") or given.pop("type", None) or "default"
    given.setdefault("rope_theta", theta)
    given = {key: value for key, value in given.items() if value is not None}
    if kind == "phi3":
        given.setdefault("partial_rotary_factor", settings["partial_rotary_factor"])
        if given["rope_type"] in ("su", "yarn"):
            given["rope_type"] = "longrope"
        if given["rope_type"] not in ("default", "longrope"):
            raise NotKnown(f"it does not know the rope {given['rope_type']} of {kind}")
    elif given.get("partial_rotary_factor", 1.0) != 1.0:
        raise NotKnown("it does not know how to rotate a part of each head there")
    if given["rope_type"] not in KINDS:
        raise NotKnown(f"it does not know the rope {given['rope_type']}")
    needed, possible = KINDS[given["rope_type"]]
    if unknown := sorted(set(given) - needed - possible - ALWAYS) or sorted(needed - set(given)):
        raise NotKnown(f"it does not know {unknown[0]} of the rope {given['rope_type']}")
    if given["rope_type"] in ("llama3", "yarn", "longrope"):
        if "original_max_position_embeddings" in settings:  # Phi's stands beside the rope and wins
            given["original_max_position_embeddings"] = settings["original_max_position_embeddings"]
        given.setdefault("original_max_position_embeddings", settings["max_position_embeddings"])
    return Rope(given, settings["head_dim"], settings["max_position_embeddings"])


def _limit(rope: Rope, limit: int | None) -> int | None:
    """Scalings that depend on the longest sequence at hand would let sequences of one batch change each other;
    below the original length they all agree.
    """
    if rope.parameters["rope_type"] in ("dynamic", "longrope"):
        limit = rope.parameters.get("original_max_position_embeddings") or limit
    return limit
