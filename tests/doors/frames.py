"""The table of the socket: what each frame is answered, by whose things it names, and what that writes.

A socket stands in a workspace of its person. A frame is sent by the owner of what it names, and by a member of the
same workspace and a stranger, who name what is not theirs.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import Any

from chatapp.web import frames
from tests.doors.door import columns

KEY = "0191a1fc-b627-7e8f-b90e-4b43b76cbeac"
ASKED = frozenset({"Conversation", "Generation", "Message", "UsageDay", "logs"})


@dataclass(frozen=True)
class Said:
    """A frame with the names of things in it; ``{own.answer}`` names one of the sender's.

    ``owner`` and ``others`` are the type of the reply, or the code of the error. ``changes`` are the tables in which
    the owner's writes, and that of others where they are answered as the owner is.
    """

    frame: str
    fields: dict[str, str] = field(default_factory=dict)
    owner: str = "not_found"
    others: str = "not_found"
    changes: frozenset[str] = frozenset()

    @property
    def names_things(self) -> bool:
        return "{" in "".join(self.fields.values())

    def __str__(self) -> str:
        return f"{self.frame} {' '.join(f'{name}={value}' for name, value in self.fields.items())}"


# What a new socket is told: its first frame, or the code it is closed with.
SOCKETS = columns("""
                        owner   admin   analyst member  stranger staff anonymous
ws/w/<slug:workspace>/  welcome welcome welcome welcome 4404     4404  4401
""")

SEND = {"key": KEY, "text": "Hi"}
SAID = (
    Said("open", {"conversation": "{conversation}"}, "opened"),
    Said("open", {"conversation": "{deleted}"}),
    Said("send", SEND, "accepted", "accepted", changes=ASKED),
    Said("send", {**SEND, "conversation": "{conversation}"}, "accepted", changes=ASKED),
    Said("send", {**SEND, "conversation": "{live_conversation}"}, "already_answering"),
    Said("send", {**SEND, "parent": "{answer}"}, "bad_request"),
    Said("send", {**SEND, "conversation": "{own.conversation}", "parent": "{answer}"}, "accepted", changes=ASKED),
    Said("regenerate", {"key": KEY, "message": "{answer}"}, "accepted", changes=ASKED),
    Said("continue", {"key": KEY, "message": "{answer}"}, "accepted", changes=ASKED),
    Said("stop", {"message": "{live}"}, "stopping", changes=frozenset({"logs"})),
    Said("subscribe", {"message": "{live}", "generation": "{live_generation}"}, "state"),
    Said("subscribe", {"message": "{answer}", "generation": "{generation}"}, "resync"),
    Said("subscribe", {"message": "{own.answer}", "generation": "{generation}"}, "resync"),
    Said("subscribe", {"message": "{answer}", "generation": "{own.generation}"}, "resync"),
    Said("unsubscribe", {"message": "{live}"}, "nothing", "nothing"),
    Said("ping", {}, "pong", "pong"),
)


def names_of_things() -> set[tuple[str, str]]:
    """Every frame of the protocol with every id in it, ``key`` aside, which names nothing; ``""`` for the frame."""
    found = set()
    for kind in typing.get_args(frames.Request):
        tag = str(kind.__struct_config__.tag)
        hints = typing.get_type_hints(kind)
        found |= {(tag, "")} | {(tag, name) for name, hint in hints.items() if "UUID" in str(hint) and name != "key"}
    return found


def reply_of(frame: dict[str, Any]) -> str:
    code: str = frame["error"]["code"] if frame["type"] == "error" else frame["type"]
    return code
