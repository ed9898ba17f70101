"""What a caller may ask for: the body of a chat completion, checked into a dataclass or refused by field. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from inference.messages import ChatMessage, Sampling

from .errors import InvalidCall

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MOST_STOPS = 4
LONGEST_KEY = 64
SEED_BITS = 63

# Taken and not acted on: an answer is the same without them.
IGNORED = frozenset(
    ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_retention", "parallel_tool_calls")
)
# Not offered yet. The values that change nothing are taken, so that a client that always sends them works.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "reasoning_effort": (),
    "verbosity": (),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "stop", "seed")
KNOWN = frozenset((*SAMPLING, "model", "messages", "stream", "stream_options", "prompt_cache_key"))


@dataclass(frozen=True, slots=True)
class ChatCall:
    model: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    stream: bool = False
    include_usage: bool = False
    cache_key: str = ""


def parse_call(body: bytes, most_tokens: int) -> ChatCall:
    """Raises ``InvalidCall`` naming the field. ``most_tokens`` is the longest answer that the plan allows."""
    fields = _object(body)
    _refuse_unknown(fields)
    stream = _flag(fields, "stream")
    return ChatCall(
        model=_text(fields, "model"),
        messages=_messages(fields.get("messages")),
        sampling=_sampling(fields, most_tokens),
        stream=stream,
        include_usage=_include_usage(fields, stream),
        cache_key=_text(fields, "prompt_cache_key", LONGEST_KEY) if "prompt_cache_key" in fields else "",
    )


def _object(body: bytes) -> dict[str, Any]:
    """The body without the fields that are null, which is to say not set."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidCall(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise InvalidCall("The body has to be one JSON object.", code="invalid_json")
    return {name: value for name, value in fields.items() if value is not None}


def _refuse_unknown(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name in UNSUPPORTED:
            if not any(_same(value, harmless) for harmless in UNSUPPORTED[name]):
                raise InvalidCall(_not_offered(name), name, "unsupported_parameter")
        elif name not in KNOWN and name not in IGNORED:
            raise InvalidCall(f"Unknown parameter: '{name[:60]}'.", name[:60], "unknown_parameter")


def _not_offered(name: str) -> str:
    return "'n' can only be 1 here." if name == "n" else f"'{name}' is not supported here."


def _same(value: Any, harmless: Any) -> bool:
    """Equal, and not only as Python sees it: ``true`` is not 1."""
    return bool(value == harmless) and isinstance(value, bool) == isinstance(harmless, bool)


def _sampling(fields: dict[str, Any], most_tokens: int) -> Sampling:
    seed = _integer(fields, "seed", -(1 << SEED_BITS), (1 << SEED_BITS) - 1)
    return Sampling(
        max_tokens=_max_tokens(fields, most_tokens),
        temperature=_number(fields, "temperature", 0, 2),
        top_p=_top_p(fields),
        top_k=_integer(fields, "top_k", -1, 1_000_000),
        min_p=_number(fields, "min_p", 0, 1),
        seed=None if seed is None else seed % (1 << SEED_BITS),
        stop=_stop(fields.get("stop")),
    )


def _max_tokens(fields: dict[str, Any], most: int) -> int:
    """The newer name counts where both are given; the plan's longest where neither is."""
    name = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    wanted = _integer(fields, name, 1, 1 << 31)
    if wanted is not None and wanted > most:
        raise InvalidCall(f"'{name}' can be {most:,} at most in your plan.", name)
    return most if wanted is None else wanted


def _top_p(fields: dict[str, Any]) -> float | None:
    top_p = _number(fields, "top_p", 0, 1)
    if top_p == 0:
        raise InvalidCall("'top_p' has to be above 0.", "top_p")
    return top_p


def _stop(raw: Any) -> tuple[str, ...]:
    stops = [raw] if isinstance(raw, str) else raw or []
    if not isinstance(stops, list) or len(stops) > MOST_STOPS or not all(isinstance(s, str) and s for s in stops):
        raise InvalidCall(f"'stop' is a text or a list of up to {MOST_STOPS}, none of them empty.", "stop")
    return tuple(stops)


def _include_usage(fields: dict[str, Any], stream: bool) -> bool:
    options = fields.get("stream_options", {})
    if not isinstance(options, dict):
        raise InvalidCall("'stream_options' has to be an object.", "stream_options")
    if options and not stream:
        raise InvalidCall("'stream_options' needs 'stream' to be true.", "stream_options")
    if unknown := options.keys() - {"include_usage", "include_obfuscation"}:
        name = f"stream_options.{min(unknown)[:40]}"
        raise InvalidCall(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    return _flag(options, "include_usage", "stream_options.include_usage")


def _messages(raw: Any) -> tuple[ChatMessage, ...]:
    if raw is None:
        raise InvalidCall("'messages' is required.", "messages", "missing_parameter")
    if not isinstance(raw, list) or not raw:
        raise InvalidCall("'messages' has to be a list with at least one message.", "messages")
    return tuple(_message(item, f"messages[{index}]") for index, item in enumerate(raw))


def _message(raw: Any, where: str) -> ChatMessage:
    """``name`` and fields that say nothing are taken, so that a reply's message can be sent back as it came."""
    if not isinstance(raw, dict):
        raise InvalidCall(f"'{where}' has to be an object.", where)
    role = raw.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidCall(f"'{where}.role' has to be one of {', '.join(ROLES)}.", f"{where}.role")
    for name in raw.keys() - {"role", "content", "name"}:
        if raw[name]:
            raise InvalidCall(f"'{where}.{name[:40]}' is not supported here.", where, "unsupported_parameter")
    return ChatMessage(ROLES[role], _content(raw.get("content"), f"{where}.content"))  # type: ignore[arg-type]


def _content(raw: Any, where: str) -> str:
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, list) or not raw:
        raise InvalidCall(f"'{where}' has to be a text or a list of text parts.", where)
    return "\n".join(_part(part, f"{where}[{index}]") for index, part in enumerate(raw))


def _part(part: Any, where: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise InvalidCall(f"'{where}' is not a text part; nothing else can be read here.", where, "unsupported_parameter")


def _text(fields: dict[str, Any], name: str, longest: int = 200) -> str:
    if name not in fields:
        raise InvalidCall(f"'{name}' is required.", name, "missing_parameter")
    value = fields[name]
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise InvalidCall(f"'{name}' has to be a text of 1 to {longest} characters.", name)
    return value


def _flag(fields: dict[str, Any], name: str, where: str = "") -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidCall(f"'{where or name}' has to be true or false.", where or name)
    return bool(value)


def _number(fields: dict[str, Any], name: str, low: float, high: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidCall(f"'{name}' has to be a number from {low:g} to {high:g}.", name)
    return float(value)


def _integer(fields: dict[str, Any], name: str, low: int, high: int) -> int | None:
    value = fields.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
        raise InvalidCall(f"'{name}' has to be a whole number from {low} to {high}.", name)
    return value
