"""What a server's events and bodies say, whatever else is in them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from ...errors import PromptTooLong, UpstreamError, UpstreamRejected, UpstreamUnavailable
from ...messages import Chance, Choice

DONE = b"[DONE]"
TOO_LONG = ("context length", "context size", "context window", "maximum context", "exceed_context", "context_length")
SHOWN = 200  # characters of a server's own words, for the log
NOT_TAKEN = (401, 403, 404, 405, 408, 425)  # refusals that are no word on the request
BUSY = (429, 503)
THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # a server may send the same under two of them
WORDS = ("text", "thinking", "reasoning", "refusal", "content", "summary")  # of a part
MOST_AT_ONCE = 4096  # bytes of events that are read without a parser
MOST_TOGETHER = 1000  # characters of texts put together: whoever counts them may have had enough


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """``text`` in so many ``tokens``. ``thought``: what the model thinks, where the server tells it apart, which is no
    part of the answer. ``done``: all was said.
    """

    text: str = ""
    tokens: int = 0
    choices: tuple[Choice, ...] = ()
    thought: str = ""
    finish: str = ""
    usage: Usage | None = None
    done: bool = False


def read_pieces(events: Iterable[tuple[bytes, bytes]]) -> Iterator[Piece]:
    """What events say, in order; text that follows text in one piece. Raises as ``read_piece``, in its turn."""
    texts: list[str] = []
    room = MOST_TOGETHER
    for name, data in events:
        text = "" if name else _plain_text(data)
        if texts and len(text) not in range(1, room):
            yield Piece("".join(texts), len(texts))
            texts, room = [], MOST_TOGETHER
        if text:
            texts.append(text)
            room -= len(text)
        else:
            yield read_piece(name, data)
    if texts:
        yield Piece("".join(texts), len(texts))


def plain_texts(chunk: bytes) -> list[str]:
    """The texts of a chunk that is whole events and says nothing else, as nearly all are; none for any other."""
    if len(chunk) > MOST_AT_ONCE or not chunk.endswith(b"\n\n") or b"\r" in chunk:
        return []
    texts = []
    for event in chunk[:-2].split(b"\n\n"):
        text = _plain_text(event[6:]) if event.startswith(b"data: ") and b"\n" not in event else ""
        if not text:
            return []
        texts.append(text)
    return texts


def _plain_text(data: bytes) -> str:
    """The text of an event that says nothing else, as nearly all do; empty for any other."""
    try:
        message = orjson.loads(data)
        (choice,) = message["choices"]
        delta = choice["delta"]
        text = delta["content"]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return ""
    more = choice.get("index") or choice.get("finish_reason") or choice.get("logprobs") or message.get("usage")
    beside = delta.get("reasoning_content") or delta.get("reasoning") or delta.get("thinking") or delta.get("refusal")
    wrong = message.get("error") or message.get("object") == "error"
    return text if isinstance(text, str) and not (more or beside or wrong) else ""


def read_piece(name: bytes, data: bytes) -> Piece:
    """An event's data. Raises ``UpstreamError`` or one of its kinds for an error, and for what is no answer."""
    if data == DONE:
        return Piece(done=True)
    message = _object(data)
    if name == b"error" or message.get("error") or message.get("object") == "error":
        raise read_error(message)
    usage = _usage(message.get("usage"))
    choice = _first(message.get("choices"))
    if choice is None:
        return Piece(usage=usage)
    delta = choice.get("delta") or choice.get("message") or {}
    if not isinstance(delta, dict):
        raise UpstreamError("it sent an answer of an unknown shape")
    thought, text = read_words(delta)
    finish = choice.get("finish_reason")
    return Piece(
        text=text,
        tokens=int(bool(text or thought)),
        choices=read_choices(choice.get("logprobs")) if choice.get("logprobs") else (),
        thought=thought,
        finish=finish if isinstance(finish, str) else "",
        usage=usage,
    )


def read_words(delta: dict[str, Any]) -> tuple[str, str]:
    """The thought and the text of a delta, or of a whole message: texts, or lists of parts of either kind."""
    content = delta.get("content")
    parts = content if isinstance(content, list) else [content]
    thoughts = [_spell(part) for part in parts if _is_thought(part)]
    texts = [_spell(part) for part in parts if not _is_thought(part)]
    apart = next((words for name in THOUGHTS if (words := _spell(delta.get(name)))), "")
    return apart + "".join(thoughts), "".join(texts) or _spell(delta.get("refusal"))


def _is_thought(part: Any) -> bool:
    kind = part.get("type") if isinstance(part, dict) else None
    return isinstance(kind, str) and kind.startswith(("thinking", "reasoning"))


def _spell(part: Any, depth: int = 4) -> str:
    """The words in a part, which has them under one of the names that servers use; none in what is no text."""
    if isinstance(part, str):
        return part
    if not depth:
        return ""
    if isinstance(part, list):
        return "".join(_spell(inner, depth - 1) for inner in part)
    names = WORDS if isinstance(part, dict) else ()
    return next((words for name in names if (words := _spell(part.get(name), depth - 1))), "")


def read_choices(logprobs: Any) -> tuple[Choice, ...]:
    """The chances of a piece's tokens. A server that tells them in another shape tells none."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    entries = content if isinstance(content, list) else []
    return tuple(Choice(drawn, _best(entry.get("top_logprobs"))) for entry in entries if (drawn := _chance(entry)))


def cut_choices(choices: tuple[Choice, ...], most: int | None) -> tuple[Choice, ...]:
    """With as many of the likeliest as were asked for (``None``: no chances at all): some servers tell more."""
    return () if most is None else tuple(Choice(choice.drawn, choice.best[:most]) for choice in choices)


def _best(entries: Any) -> tuple[Chance, ...]:
    read = map(_chance, entries) if isinstance(entries, list) else ()
    return tuple(chance for chance in read if chance)


def _chance(entry: Any) -> Chance | None:
    token, logprob = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
    if not isinstance(token, str) or not isinstance(logprob, int | float) or not math.isfinite(logprob):
        return None
    raw = entry.get("bytes")
    is_bytes = isinstance(raw, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in raw)  # noqa: PLR2004
    return Chance(token.encode("utf-8", "replace").decode(), float(logprob), tuple(raw) if is_bytes else None)


def read_error(message: Any, status: int = 0) -> Exception:
    """The error that an error's body means. ``status``: of the response, 0 inside a stream."""
    error = message.get("error", message) if isinstance(message, dict) else message
    fields = error if isinstance(error, dict) else {"message": error}
    said = str(fields.get("message") or fields.get("detail") or fields or "no reason")[:SHOWN]
    code = fields.get("code") if status == 0 else status
    status = code if isinstance(code, int) and not isinstance(code, bool) else status
    marks = f"{fields.get('code')} {fields.get('type')} {said}".lower()
    if status in (0, 400, 413, 422) and any(words in marks for words in TOO_LONG):
        return PromptTooLong("It does not fit the model's context.")
    if status in NOT_TAKEN:
        return UpstreamUnavailable(f"it answered {status}: {said}")
    if status in (400, 413, 422):
        return UpstreamRejected(said)
    return UpstreamError(f"it answered {status or 'an error'}: {said}")


def _object(data: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        message = _lenient(data)
    if not isinstance(message, dict):
        raise UpstreamError(f"it sent what is no answer: {data[:SHOWN]!r}")
    return message


def _lenient(data: bytes) -> Any:
    """Halves of characters, as bytes or as escapes, are the text's damage and not the stream's."""
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise UpstreamError(f"it sent what is no answer: {data[:SHOWN]!r}") from None


def _first(choices: Any) -> dict[str, Any] | None:
    if not isinstance(choices, list):
        return None
    return next((choice for choice in choices if isinstance(choice, dict) and not choice.get("index")), None)


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _count(cached))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0
