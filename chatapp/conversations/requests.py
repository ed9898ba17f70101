"""What a client may send over the socket: each frame checked into a dataclass, or refused by name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from chatapp.common.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Open:
    conversation: UUID


@dataclass(frozen=True, slots=True)
class Send:
    key: UUID
    text: str
    conversation: UUID | None = None
    parent: UUID | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Regenerate:
    key: UUID
    message: UUID
    model: str = ""


@dataclass(frozen=True, slots=True)
class Continue:
    key: UUID
    message: UUID


@dataclass(frozen=True, slots=True)
class Stop:
    message: UUID


@dataclass(frozen=True, slots=True)
class Subscribe:
    message: UUID
    generation: UUID
    after_seq: int = 0


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    message: UUID


@dataclass(frozen=True, slots=True)
class Ping:
    pass


Act = Send | Regenerate | Continue
Request = Open | Act | Stop | Subscribe | Unsubscribe | Ping

_KINDS: dict[str, type[Any]] = {
    "open": Open,
    "send": Send,
    "regenerate": Regenerate,
    "continue": Continue,
    "stop": Stop,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "ping": Ping,
}


def parse_request(frame: dict[str, Any]) -> Request:
    """A frame as its request. Raises ``BadRequest`` naming the type or field that is wrong."""
    kind = _KINDS.get(frame.get("type", "") if isinstance(frame.get("type"), str) else "")
    if kind is None:
        raise BadRequest(f"There is no request of type {frame.get('type')!r}.")
    values = {f.name: _value(f.name, str(f.type), frame[f.name]) for f in fields(kind) if frame.get(f.name) is not None}
    try:
        request: Request = kind(**values)
    except TypeError:
        missing = [f.name for f in fields(kind) if f.name not in values]
        raise BadRequest(f"{frame['type']} needs {', '.join(missing)}.") from None
    return request


def _value(name: str, kind: str, raw: Any) -> Any:
    """``raw`` as the field's type."""
    if kind.startswith("UUID"):
        return _uuid(name, raw)
    if kind == "int" and isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
        return raw
    if kind == "str" and isinstance(raw, str):
        return raw
    raise BadRequest(f"{name} is not valid: expected {'a number from 0' if kind == 'int' else 'a text'}.")


def _uuid(name: str, raw: Any) -> UUID:
    try:
        return UUID(raw)
    except (ValueError, AttributeError, TypeError):
        raise BadRequest(f"{name} is not valid: expected a UUID.") from None
