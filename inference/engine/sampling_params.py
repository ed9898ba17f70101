"""How the tokens of one answer are drawn. Names and meanings are vLLM's."""

from __future__ import annotations

from dataclasses import dataclass

MAX_STOP_STRINGS = 16
MAX_TEMPERATURE = 100.0


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Raises ``ValueError`` naming the field when a value is out of range.

    max_tokens: most tokens of the answer, those of a resumed answer included.
    temperature: 0 is greedy decoding.
    top_p, top_k, min_p: applied in the order top-k, top-p, min-p; 1.0, 0 (or -1) and 0.0 switch them off.
    seed: the same seed gives the same answer whatever else runs beside it; ``None`` draws one.
    stop: the answer ends before the first of these strings, which is not part of the text.
    stop_token_ids: tokens that end the answer besides the model's own.
    ignore_eos: go on past the model's end-of-text tokens.
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        _require(self.max_tokens >= 1, "max_tokens must be at least 1", self.max_tokens)
        _require(0.0 <= self.temperature <= MAX_TEMPERATURE, "temperature must be in [0, 100]", self.temperature)
        _require(0.0 < self.top_p <= 1.0, "top_p must be in (0, 1]", self.top_p)
        _require(self.top_k >= -1, "top_k must be 0 or -1 (off) or at least 1", self.top_k)
        _require(0.0 <= self.min_p <= 1.0, "min_p must be in [0, 1]", self.min_p)
        _require(not isinstance(self.stop, str), "stop must be a tuple of strings", self.stop)
        _require(len(self.stop) <= MAX_STOP_STRINGS, f"at most {MAX_STOP_STRINGS} stop strings", len(self.stop))
        _require(all(self.stop), "a stop string must not be empty", self.stop)

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{rule}, got {value!r}")
