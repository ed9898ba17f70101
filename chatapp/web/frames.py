"""What a client may send over the socket: each frame of docs/protocol.md as a type of its own, or refused by field."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec

from chatapp.common.errors import BadRequest

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
    """Raises ``BadFrame`` naming the type or field that is wrong."""
    try:
        request: Request = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadFrame(f"That frame is not valid: {error}.", _read_ref(text)) from None
    except msgspec.DecodeError:
        raise BadFrame("A frame is one JSON object.") from None
    return request


def _read_ref(text: str) -> Any:
    frame = msgspec.json.decode(text)
    return frame.get("ref") if isinstance(frame, dict) else None
