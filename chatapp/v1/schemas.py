"""What a caller may ask for: the body of a chat completion, checked into a dataclass or refused by field. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from inference.messages import ChatMessage, Sampling

from .errors import InvalidCall
from .fields import Fields, take_flag, take_integer, take_text
from .sampling import SAMPLING, parse_sampling

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
LONGEST_KEY = 64

# Taken and not acted on: an answer is the same without them.
IGNORED = frozenset(
    ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_retention", "parallel_tool_calls")
)
# Not offered yet. The values that change nothing are taken, so that a client that always sends them works.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "reasoning_effort": (),
    "verbosity": (),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}
KNOWN = frozenset((*SAMPLING, "model", "messages", "n", "stream", "stream_options", "prompt_cache_key"))


@dataclass(frozen=True, slots=True)
class ChatCall:
    model: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    answers: int = 1
    stream: bool = False
    include_usage: bool = False
    cache_key: str = ""


def parse_call(body: bytes, *, most_tokens: int, most_answers: int) -> ChatCall:
    """Raises ``InvalidCall`` naming the field.

    ``most_tokens`` is the longest answer that the plan allows, ``most_answers`` how many may be written at once.
    """
    fields = _object(body)
    _refuse_unknown(fields)
    stream = take_flag(fields, "stream")
    return ChatCall(
        model=take_text(fields, "model"),
        messages=_messages(fields.get("messages")),
        sampling=parse_sampling(fields, most_tokens),
        answers=_answers(fields, most_answers),
        stream=stream,
        include_usage=_include_usage(fields, stream),
        cache_key=take_text(fields, "prompt_cache_key", LONGEST_KEY) if "prompt_cache_key" in fields else "",
    )


def _object(body: bytes) -> Fields:
    """The body without the fields that are null, which is to say not set."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidCall(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise InvalidCall("The body has to be one JSON object.", code="invalid_json")
    return {name: value for name, value in fields.items() if value is not None}


def _refuse_unknown(fields: Fields) -> None:
    for name, value in fields.items():
        if name in UNSUPPORTED:
            if not any(_same(value, harmless) for harmless in UNSUPPORTED[name]):
                raise InvalidCall(f"'{name}' is not supported here.", name, "unsupported_parameter")
        elif name not in KNOWN and name not in IGNORED:
            raise InvalidCall(f"Unknown parameter: '{name[:60]}'.", name[:60], "unknown_parameter")


def _same(value: Any, harmless: Any) -> bool:
    """Equal, and not only as Python sees it: ``true`` is not 1."""
    return bool(value == harmless) and isinstance(value, bool) == isinstance(harmless, bool)


def _answers(fields: Fields, most: int) -> int:
    wanted = take_integer(fields, "n", 1, 1 << 31) or 1
    if wanted > most:
        raise InvalidCall(f"'n' can be {most} at most in your plan, which writes no more answers at once.", "n")
    return wanted


def _include_usage(fields: Fields, stream: bool) -> bool:
    options = fields.get("stream_options", {})
    if not isinstance(options, dict):
        raise InvalidCall("'stream_options' has to be an object.", "stream_options")
    if options and not stream:
        raise InvalidCall("'stream_options' needs 'stream' to be true.", "stream_options")
    if unknown := options.keys() - {"include_usage", "include_obfuscation"}:
        name = f"stream_options.{min(unknown)[:40]}"
        raise InvalidCall(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    return take_flag(options, "include_usage", "stream_options.include_usage")


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
