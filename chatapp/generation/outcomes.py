"""A token log read as a whole: what came of a generation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference.messages import Ended, Event, Started, Text

STATES = {
    "stop": "done",
    "length": "done",
    "cancelled": "stopped",
    "interrupted": "interrupted",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a log says. ``ended`` is None while the answer is still being written."""

    text: str
    started: Started | None
    ended: Ended | None
    last_seq: int

    @property
    def state(self) -> str:
        """The state of the answer's message: queued, streaming, or one of the ends."""
        if self.ended is not None:
            return STATES[self.ended.reason]
        return "streaming" if self.started else "queued"

    @property
    def can_continue(self) -> bool:
        """Cut short by anything but the model itself; not a message that will be too long every time."""
        ended = self.ended
        return ended is not None and ended.reason != "stop" and ended.error_code != "prompt_too_long"


def read_outcome(events: Sequence[Event]) -> Outcome:
    """Fold a complete log, from its first event."""
    last = events[-1] if events else None
    return Outcome(
        text="".join(event.text for event in events if isinstance(event, Text)),
        # A job that changed hands has been started more than once; the last start is the one that ended.
        started=next((event for event in reversed(events) if isinstance(event, Started)), None),
        ended=last if isinstance(last, Ended) else None,
        last_seq=last.seq if last else 0,
    )
