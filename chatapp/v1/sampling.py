"""How a caller wants tokens drawn. Pure."""

from __future__ import annotations

import orjson

from inference.messages import ANY_OBJECT, Sampling

from .body import LARGEST_SEED, Body, ObjectFormat, SchemaFormat
from .errors import InvalidCall

LONGEST_SCHEMA = 1 << 16  # characters
ANY = -1  # as llama.cpp's and vLLM's clients say it
LEAST_TOP_P = 1e-6  # the likeliest token alone, where 0 is refused


def read_sampling(body: Body, most_tokens: int) -> Sampling:
    """Raises ``InvalidCall`` naming the field. ``most_tokens`` is the longest answer that the plan allows."""
    max_tokens = _max_tokens(body, most_tokens)
    return Sampling(
        max_tokens=max_tokens,
        temperature=body.temperature,
        top_p=None if body.top_p is None else max(body.top_p, LEAST_TOP_P),
        top_k=body.top_k,
        min_p=body.min_p,
        seed=None if body.seed in (None, ANY) else body.seed & LARGEST_SEED,
        stop=(body.stop,) if body.stop and isinstance(body.stop, str) else tuple(body.stop or ()),
        stop_token_ids=tuple(body.stop_token_ids or ()),
        min_tokens=_min_tokens(body, max_tokens),
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty,
        logit_bias=tuple((body.logit_bias or {}).items()),
        logprobs=_logprobs(body),
        json_schema=_json_schema(body),
    )


def _max_tokens(body: Body, most: int) -> int:
    """The newer name counts where both are given; the plan's longest where neither is, or where more is asked for."""
    name = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    wanted = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    if wanted == 0:
        raise InvalidCall(f"'{name}' has to be at least 1, or -1 for as long as your plan allows.", name)
    return most if wanted in (None, ANY) else min(wanted, most)


def _min_tokens(body: Body, most: int) -> int:
    wanted = body.min_tokens or 0
    if wanted > most:
        raise InvalidCall(f"'min_tokens' can be {most:,} at most, this answer's longest.", "min_tokens")
    return wanted


def _logprobs(body: Body) -> int | None:
    if body.top_logprobs and not body.logprobs:
        raise InvalidCall("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    return (body.top_logprobs or 0) if body.logprobs else None


def _json_schema(body: Body) -> str:
    """The schema that the answer has to match; empty for any text.

    ``strict`` or not, the answer matches. The schema itself is checked by whoever follows it.
    """
    if isinstance(body.response_format, ObjectFormat):
        return ANY_OBJECT
    if isinstance(body.response_format, SchemaFormat):
        return _schema_text(body.response_format)
    return ""


def _schema_text(stated: SchemaFormat) -> str:
    where = "response_format.json_schema.schema"
    try:
        text = orjson.dumps(stated.json_schema.schema).decode()
    except orjson.JSONEncodeError:
        raise InvalidCall(f"'{where}' is nested too deeply.", where) from None
    if len(text) > LONGEST_SCHEMA:
        raise InvalidCall(f"'{where}' can have {LONGEST_SCHEMA:,} characters at most.", where)
    return text
