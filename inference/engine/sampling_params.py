"""How the tokens of one answer are drawn. Names and meanings are vLLM's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_STOP_STRINGS = 16
MAX_TEMPERATURE = 100.0
MAX_LOGPROBS = 20
MAX_BIAS = 100.0
GREEDY_BELOW = 1e-5  # logits over a smaller temperature leave the range of float32
MAX_BIASES = 1024
MAX_ANSWERS = 64


@dataclass(frozen=True, slots=True)
class StructuredOutputsParams:
    """What the answer has to match: exactly one of these. Raises ``ValueError`` otherwise.

    json: a JSON schema, as an object or its text. regex: matched by the whole answer, in Rust's syntax.
    choice: one of these strings. json_object: any JSON object.
    """

    json: str | Mapping[str, Any] | None = None
    regex: str | None = None
    choice: Sequence[str] | None = None
    json_object: bool = False

    def __post_init__(self) -> None:
        stated = (self.json is not None) + (self.regex is not None) + (self.choice is not None) + self.json_object
        _require(stated == 1, "structured_outputs must state one of json, regex, choice and json_object", stated)
        chosen = self.choice is None or (len(self.choice) > 0 and _strings(self.choice))
        _require(chosen, "choice must be strings that are not empty", self.choice)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Raises ``ValueError`` naming the field when a value is out of range.

    n: answers to write; each has its own seed, derived from ``seed``.
    max_tokens, min_tokens: most and fewest tokens of the answer, those of a resumed answer included.
    temperature: 0 is greedy decoding.
    top_p, top_k, min_p: applied in the order top-k, top-p, min-p; 1.0, 0 (or -1) and 0.0 switch them off.
    repetition_penalty: divides the logits above zero, and multiplies those below, of every token in prompt or answer.
    presence_penalty, frequency_penalty: subtracted, once and once per occurrence, from those of the answer's tokens.
    logit_bias: added to the logits of these token ids.
    seed: the same seed gives the same answer whatever else runs beside it; ``None`` or -1 draws one.
    stop: the answer ends before the first of these strings (or this one), which is not part of the text.
    stop_token_ids: tokens that end the answer besides the model's own.
    ignore_eos: go on past the model's end-of-text tokens.
    logprobs: report each token's log probability and those of this many of the likeliest.
    structured_outputs: what the answer has to match.
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | Sequence[str] | None = ()
    stop_token_ids: Sequence[int] = ()
    ignore_eos: bool = False
    n: int = 1
    min_tokens: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    structured_outputs: StructuredOutputsParams | None = None

    def __post_init__(self) -> None:
        for name, lowest, highest in RANGES:
            value = getattr(self, name)
            _require(lowest <= value <= highest, f"{name} must be in [{lowest}, {highest}]", value)
        _require(self.top_p > 0.0, "top_p must be above 0", self.top_p)
        _require(self.repetition_penalty > 0.0, "repetition_penalty must be above 0", self.repetition_penalty)
        _require(self.top_k >= -1, "top_k must be 0 or -1 (off) or at least 1", self.top_k)
        _require(self.min_tokens <= self.max_tokens, "min_tokens must not exceed max_tokens", self.min_tokens)
        _require(
            self.logprobs is None or 0 <= self.logprobs <= MAX_LOGPROBS, "logprobs must be in [0, 20]", self.logprobs
        )
        _require(
            len(self.logit_bias) <= MAX_BIASES, f"logit_bias has at most {MAX_BIASES} tokens", len(self.logit_bias)
        )
        _require(
            all(-MAX_BIAS <= bias <= MAX_BIAS for bias in self.logit_bias.values()),
            "logit_bias must be in [-100, 100]",
            self.logit_bias,
        )
        _require(len(self.stop_strings) <= MAX_STOP_STRINGS, f"at most {MAX_STOP_STRINGS} stop strings", self.stop)
        _require(_strings(self.stop_strings), "stop must be strings that are not empty", self.stop)

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """``stop`` in one form."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def greedy(self) -> bool:
        return self.temperature < GREEDY_BELOW


RANGES = (
    ("max_tokens", 1, float("inf")),
    ("temperature", 0.0, MAX_TEMPERATURE),
    ("top_p", 0.0, 1.0),
    ("min_p", 0.0, 1.0),
    ("n", 1, MAX_ANSWERS),
    ("min_tokens", 0, float("inf")),
    ("repetition_penalty", 0.0, 100.0),
    ("presence_penalty", -2.0, 2.0),
    ("frequency_penalty", -2.0, 2.0),
)


def _strings(values: Sequence[str]) -> bool:
    return not isinstance(values, str) and all(isinstance(value, str) and value for value in values)


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{rule}, got {value!r}")
