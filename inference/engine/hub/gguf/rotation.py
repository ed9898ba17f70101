"""How positions are told: GGUF's values and factors -> transformers' ``rope_parameters``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .metadata import Metadata

LOCAL_BASE = 10_000.0  # of Gemma 3's layers with a window; its files do not say it
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
CLOSE = 1e-3  # factors are kept in float32


@dataclass(frozen=True, slots=True)
class Rotation:
    """``size`` of the head's numbers rotate. ``factors`` divide their frequencies (Llama 3); ``long`` and ``short``
    are Phi 3's. Each is empty where the file has none.
    """

    size: int
    head_dim: int
    factors: Sequence[float] = ()
    long: Sequence[float] = ()
    short: Sequence[float] = ()

    def plain(self, metadata: Metadata) -> dict[str, Any]:
        """One kind for all layers."""
        base = metadata.number(".rope.freq_base", 10_000.0)
        rope: dict[str, Any] = {"rope_theta": base, "rope_type": "default"}
        if self.size != self.head_dim:
            rope["partial_rotary_factor"] = self.size / self.head_dim
        if self.long or self.short:
            return rope | self._longrope(metadata)
        if self.factors:
            return rope | self._llama3(metadata, base)
        return rope | _scaling(metadata)

    def by_layer(self, metadata: Metadata) -> dict[str, Any]:
        """Gemma 3: scaled and slow where a layer sees all, plain where it sees a window."""
        local = metadata.number(".rope.freq_base_swa", LOCAL_BASE)
        return {
            "full_attention": self.plain(metadata),
            "sliding_attention": {"rope_type": "default", "rope_theta": local},
        }

    def _longrope(self, metadata: Metadata) -> dict[str, Any]:
        if not len(self.long) == len(self.short) == self.size // 2:
            raise metadata.refuse("has factors for its positions that do not fit its heads")
        return {
            "rope_type": "longrope",
            "long_factor": list(self.long),
            "short_factor": list(self.short),
            "original_max_position_embeddings": metadata.whole(".rope.scaling.original_context_length"),
            "attention_factor": metadata.number(".rope.scaling.attn_factor", 1.0),
        }

    def _llama3(self, metadata: Metadata, base: float) -> dict[str, Any]:
        """The file has each frequency's divisor, transformers wants the rule: all Llamas' own, if it gives these."""
        factor = float(max(self.factors))
        rule = LLAMA3 | {"factor": round(factor, 3)}
        expected = _llama3_factors(base, self.size, rule) if len(self.factors) == self.size // 2 else []
        if not expected or not all(
            math.isclose(a, b, rel_tol=CLOSE) for a, b in zip(expected, self.factors, strict=True)
        ):
            raise metadata.refuse("scales its positions by a rule that is not read (rope_freqs)")
        return rule | {"rope_type": "llama3"}


def _llama3_factors(base: float, size: int, rule: dict[str, float]) -> list[float]:
    """What Llama 3.1 and later divide each frequency by (transformers' ``_compute_llama3_parameters``)."""
    original, low, high = (
        rule["original_max_position_embeddings"],
        rule["low_freq_factor"],
        rule["high_freq_factor"],
    )
    found = []
    for index in range(0, size, 2):
        turns = original / (2 * math.pi * base ** (index / size))
        smooth = min(1.0, max(0.0, (turns - low) / (high - low)))
        found.append(1 / ((1 - smooth) / rule["factor"] + smooth))
    return found


def _scaling(metadata: Metadata) -> dict[str, Any]:
    kind = metadata.text(".rope.scaling.type", "linear" if ".rope.scale_linear" in metadata else "none")
    factor = metadata.number(".rope.scaling.factor", metadata.number(".rope.scale_linear", 1.0))
    if kind == "none" or factor in (0.0, 1.0):
        return {}
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        original = metadata.whole(".rope.scaling.original_context_length")
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    raise metadata.refuse(f"scales its positions by {kind[:40]!r}, which is not read")
