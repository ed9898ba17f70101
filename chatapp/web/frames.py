"""What a client may send over the socket: each frame of docs/protocol.md as a type of its own, or refused by field."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import UUID

import msgspec

from chatapp.common.errors import BadRequest
from chatapp.common.text import well_formed

Seq = Annotated[int, msgspec.Meta(ge=0)]


class Frame(msgspec.Struct, kw_only=True, tag=str.lower):
    """``ref`` is the client's; the reply carries it. Fields that are not known are ignored."""

    ref: Any = None


class Open(Frame):
    conversation: UUID


class Send(Frame):
    key: UUID
    text: str
    conversation: UUID | None = None
    parent: UUID | None = None
    model: str | None = None


class Regenerate(Frame):
    key: UUID
    message: UUID
    model: str | None = None


class Continue(Frame):
    key: UUID
    message: UUID


class Stop(Frame):
    message: UUID


class Subscribe(Frame):
    message: UUID
    generation: UUID
    after_seq: Seq = 0


class Unsubscribe(Frame):
    message: UUID


class Ping(Frame):
    pass


Act = Send | Regenerate | Continue
Request = Open | Act | Stop | Subscribe | Unsubscribe | Ping

_decoder = msgspec.json.Decoder(Request)


class BadFrame(BadRequest):
    """``ref`` is that of the refused frame, as far as it could be read."""

    def __init__(self, message: str, ref: Any = None) -> None:
        super().__init__(message)
        self.ref = ref


def parse_frame(text: str) -> Request:
    """Half a character in a text is read as U+FFFD. Raises ``BadFrame`` naming the type or field that is wrong."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):  # as a forgiving parser would read it, or to be told what is wrong
        return _convert(_read_forgiving(text))


def _read_forgiving(text: str) -> dict[str, Any]:
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        frame = None
    if not isinstance(frame, dict):
        raise BadFrame("A frame is one JSON object.")
    return {well_formed(name): well_formed(it) if isinstance(it, str) else it for name, it in frame.items()}


def _convert(frame: dict[str, Any]) -> Request:
    try:
        return msgspec.convert(frame, Request)  # type: ignore[no-any-return,call-overload]
    except msgspec.ValidationError as error:
        ref = frame.get("ref")
        raise BadFrame(f"That frame is not valid: {error}.", ref if isinstance(ref, str | int) else None) from None
