"""How a caller wants tokens drawn: OpenAI's fields, and vLLM's for what OpenAI does not have. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from inference.messages import ANY_OBJECT, Sampling

from .errors import InvalidCall
from .fields import Fields, take_flag, take_integer, take_number

SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_tokens",
    "max_completion_tokens",
    "min_tokens",
    "stop",
    "stop_token_ids",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "response_format",
)
MOST_STOPS = 4
MOST_STOP_TOKENS = 64
MOST_BIASES = 1024  # as many as the engine takes
MOST_BIAS = 100.0
MOST_LOGPROBS = 20
SEED_BITS = 63
LARGEST_TOKEN = (1 << 31) - 1
LONGEST_NUMBER = 10  # digits
LONGEST_SCHEMA = 1 << 16  # characters


def parse_sampling(fields: Fields, most_tokens: int) -> Sampling:
    """Raises ``InvalidCall`` naming the field. ``most_tokens`` is the longest answer that the plan allows."""
    seed = take_integer(fields, "seed", -(1 << SEED_BITS), (1 << SEED_BITS) - 1)
    max_tokens = _max_tokens(fields, most_tokens)
    return Sampling(
        max_tokens=max_tokens,
        temperature=take_number(fields, "temperature", 0, 2),
        top_p=_above_zero(fields, "top_p", 1),
        top_k=take_integer(fields, "top_k", -1, 1_000_000),
        min_p=take_number(fields, "min_p", 0, 1),
        seed=None if seed is None else seed % (1 << SEED_BITS),
        stop=_stop(fields.get("stop")),
        stop_token_ids=_stop_token_ids(fields.get("stop_token_ids", [])),
        min_tokens=take_integer(fields, "min_tokens", 0, max_tokens) or 0,
        presence_penalty=take_number(fields, "presence_penalty", -2, 2),
        frequency_penalty=take_number(fields, "frequency_penalty", -2, 2),
        repetition_penalty=_above_zero(fields, "repetition_penalty", 100),
        logit_bias=_logit_bias(fields.get("logit_bias", {})),
        logprobs=_logprobs(fields),
        json_schema=_json_schema(fields.get("response_format", {"type": "text"})),
    )


def _max_tokens(fields: Fields, most: int) -> int:
    """The newer name counts where both are given; the plan's longest where neither is."""
    name = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    wanted = take_integer(fields, name, 1, 1 << 31)
    if wanted is not None and wanted > most:
        raise InvalidCall(f"'{name}' can be {most:,} at most in your plan.", name)
    return most if wanted is None else wanted


def _above_zero(fields: Fields, name: str, high: float) -> float | None:
    value = take_number(fields, name, 0, high)
    if value == 0:
        raise InvalidCall(f"'{name}' has to be above 0.", name)
    return value


def _stop(raw: Any) -> tuple[str, ...]:
    stops = [raw] if isinstance(raw, str) else raw or []
    if not isinstance(stops, list) or len(stops) > MOST_STOPS or not all(isinstance(s, str) and s for s in stops):
        raise InvalidCall(f"'stop' is a text or a list of up to {MOST_STOPS}, none of them empty.", "stop")
    return tuple(stops)


def _stop_token_ids(raw: Any) -> tuple[int, ...]:
    if not isinstance(raw, list) or len(raw) > MOST_STOP_TOKENS or not all(map(_is_token, raw)):
        raise InvalidCall(f"'stop_token_ids' is a list of up to {MOST_STOP_TOKENS} tokens' numbers.", "stop_token_ids")
    return tuple(raw)


def _is_token(raw: Any) -> bool:
    return isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw <= LARGEST_TOKEN


def _logit_bias(raw: Any) -> tuple[tuple[int, float], ...]:
    if not isinstance(raw, dict) or len(raw) > MOST_BIASES:
        raise InvalidCall(f"'logit_bias' is an object of up to {MOST_BIASES:,} tokens.", "logit_bias")
    return tuple((_token(name), take_number(raw, name, -MOST_BIAS, MOST_BIAS, "logit_bias") or 0.0) for name in raw)


def _token(name: str) -> int:
    if not (name.isascii() and name.isdigit() and len(name) <= LONGEST_NUMBER and int(name) <= LARGEST_TOKEN):
        raise InvalidCall("'logit_bias' goes by tokens' numbers, such as \"50256\".", "logit_bias")
    return int(name)


def _logprobs(fields: Fields) -> int | None:
    wanted, likeliest = take_flag(fields, "logprobs"), take_integer(fields, "top_logprobs", 0, MOST_LOGPROBS)
    if likeliest and not wanted:
        raise InvalidCall("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    return (likeliest or 0) if wanted else None


def _json_schema(response_format: Any) -> str:
    """The schema that the answer has to match; empty for any text."""
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "text":
        return ""
    if kind == "json_object":
        return ANY_OBJECT
    if kind == "json_schema":
        return _schema_text(response_format.get("json_schema"))
    raise InvalidCall(
        "'response_format.type' has to be text, json_object or json_schema.", "response_format", "unsupported_parameter"
    )


def _schema_text(named: Any) -> str:
    """``strict`` or not, the answer matches. The schema itself is checked by whoever follows it."""
    where = "response_format.json_schema.schema"
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        raise InvalidCall(
            f"'{where}' has to be an object.", where, "missing_parameter" if schema is None else "invalid_value"
        )
    try:
        text = orjson.dumps(schema).decode()
    except orjson.JSONEncodeError:
        raise InvalidCall(f"'{where}' is nested too deeply.", where) from None
    if len(text) > LONGEST_SCHEMA:
        raise InvalidCall(f"'{where}' can have {LONGEST_SCHEMA:,} characters at most.", where)
    return text
