"""The versioned JSON of ``messages``.

A reader leaves out the fields that it does not know, and takes the default of those that are missing: so processes
of two releases can talk to each other while one follows the other. What old readers would misread is a new version.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import orjson

from .messages import Chance, ChatMessage, Choice, Ended, Event, Job, Sampling, Started, Text, Vectors, WorkerReport

VERSION = 1

T = TypeVar("T")

_EVENTS: dict[str, type[Started] | type[Ended]] = {"started": Started, "ended": Ended}
_KINDS: dict[type, str] = {Started: "started", Text: "text", Vectors: "vectors", Ended: "ended"}
_FIELDS: dict[type, frozenset[str]] = {
    cls: frozenset(field.name for field in fields(cls)) for cls in (*_KINDS, Job, Sampling, ChatMessage, WorkerReport)
}


def encode_event(event: Event) -> bytes:
    return orjson.dumps({"v": VERSION, "kind": _KINDS[type(event)], "event": event})


def decode_event(raw: bytes | str) -> Event:
    """Inverse of ``encode_event``. Raises ``ValueError`` for another version or an unknown kind."""
    message = _checked(raw)
    kind, given = message.get("kind", ""), message.get("event", {})
    if kind == "text":
        return _text(given)
    if kind == "vectors":
        return _known(Vectors, {**given, "places": tuple(given["places"])})
    if kind not in _EVENTS:
        raise ValueError("unknown event kind")
    return _known(_EVENTS[kind], given)


def encode_job(job: Job) -> bytes:
    return orjson.dumps({"v": VERSION, "job": job})


def decode_job(raw: bytes | str) -> Job:
    """Inverse of ``encode_job``. Raises ``ValueError`` for another version."""
    given = _checked(raw)["job"]
    messages = tuple(_known(ChatMessage, message) for message in given.pop("messages"))
    texts, sampling = tuple(given.get("texts", ())), _sampling(given["sampling"])
    return _known(Job, {**given, "messages": messages, "texts": texts, "sampling": sampling})


def encode_report(report: WorkerReport) -> bytes:
    return orjson.dumps({"v": VERSION, "report": report})


def decode_report(raw: bytes | str) -> WorkerReport:
    """Inverse of ``encode_report``. Raises ``ValueError`` for another version."""
    given = _checked(raw)["report"]
    given["answers"] = tuple((written, most) for written, most in given["answers"])
    given["lengths"] = tuple(given["lengths"])
    return _known(WorkerReport, given)


def _sampling(given: dict[str, Any]) -> Sampling:
    biases = tuple((token_id, bias) for token_id, bias in given.get("logit_bias", ()))
    lists = {name: tuple(given.get(name, ())) for name in ("stop", "stop_token_ids")}
    return _known(Sampling, {**given, **lists, "logit_bias": biases})


def _text(given: dict[str, Any]) -> Text:
    """Field by field: nearly all events are these."""
    choices = tuple(map(_choice, given["choices"])) if given.get("choices") else ()
    without_ids, thought = given.get("without_ids", 0), given.get("thought", "")
    return Text(given["seq"], given["text"], tuple(given["token_ids"]), without_ids, choices, thought)


def _choice(given: dict[str, Any]) -> Choice:
    return Choice(_chance(given["drawn"]), tuple(map(_chance, given["best"])))


def _chance(given: dict[str, Any]) -> Chance:
    raw = given["bytes"]
    return Chance(given["token"], given["logprob"], None if raw is None else tuple(raw))


def _known(cls: type[T], given: dict[str, Any]) -> T:
    names = _FIELDS[cls]
    return cls(**given) if given.keys() <= names else cls(**{name: given[name] for name in given.keys() & names})


def _checked(raw: bytes | str) -> dict[str, Any]:
    message: dict[str, Any] = orjson.loads(raw)
    if message.pop("v", None) != VERSION:
        raise ValueError(f"message version is not {VERSION}")
    return message
