"""A token log read as a whole: what came of a generation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inference.messages import Ended, Event, Started, Text

STATES = {
    "stop": "done",
    "length": "done",
    "cancelled": "stopped",
    "interrupted": "interrupted",
    "failed": "failed",
}
NO_WORDS, ONLY_THOUGHT, THOUGHT_TOO_LONG = (
    "The model ended its answer before the first word. Regenerate it to try again.",
    "The model thought about this and ended without an answer. Regenerate it to try again.",
    "The model thought for as long as an answer may be, and did not come to one. Regenerate it, or ask for less.",
)
FUTILE = ("prompt_too_long", "invalid_messages", "no_words")  # going on would come to the same
TOGETHER = 64  # pieces of text that are put together while more come: many small ones take several times the room


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a log says. ``ended`` is None while the answer is being written, ``thought`` is no part of ``text``."""

    text: str
    started: Started | None
    ended: Ended | None
    last_seq: int
    thought: str = ""
    tokens: int = 0  # of the text, as far as it was read

    @property
    def state(self) -> str:
        """The state of the answer's message: queued, streaming, or one of the ends."""
        if self.ended is not None:
            return STATES[self.ended.reason]
        return "streaming" if self.started else "queued"

    @property
    def can_continue(self) -> bool:
        """Cut short by anything but the model itself; not a message that will be too long every time, nor an answer
        that had no room for another word.
        """
        ended = self.ended
        if ended is None or ended.reason == "stop" or ended.error_code in FUTILE:
            return False
        return ended.reason != "length" or bool(self.text)

    def as_answer(self, before: str) -> Outcome:
        """What it means for an answer that has ``before`` already: one without a word has failed, and says so."""
        ended = self.ended
        if ended is None or ended.reason not in ("stop", "length") or (before + self.text).strip():
            return self
        message = NO_WORDS
        if self.thought.strip():
            message = ONLY_THOUGHT if ended.reason == "stop" else THOUGHT_TOO_LONG
        return replace(self, ended=replace(ended, reason="failed", error_code="no_words", error_message=message))


class Fold:
    """The outcome of a log while it is read, from its first event on. Events that come again change nothing."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thought: list[str] = []
        self._started: Started | None = None
        self._last: Event | None = None
        self._tokens = 0
        self.is_gapless = True  # no event is missing: this is what a reader was shown
        self._is_doubted = False

    @property
    def is_whole(self) -> bool:
        """No event is missing, and all are of one log."""
        return self.is_gapless and not self._is_doubted

    def doubt(self) -> None:
        """What came so far may not be what the log says now."""
        self._is_doubted = self._is_doubted or self._last is not None

    def add(self, events: Sequence[Event]) -> None:
        last = self._last.seq if self._last else 0
        for event in events:
            if event.seq > last:
                self.is_gapless &= event.seq == last + 1
                last = event.seq
                self._take(event)

    def _take(self, event: Event) -> None:
        self._last = event
        if isinstance(event, Text):
            self._tokens += event.tokens
            self._text.append(event.text)
            if len(self._text) == TOGETHER:
                self._text = ["".join(self._text)]
            if event.thought:
                self._thought.append(event.thought)
        elif isinstance(event, Started):
            # A job that changed hands has been started more than once; the last start is the one that ended.
            self._started = event

    @property
    def outcome(self) -> Outcome:
        last = self._last
        return Outcome(
            text="".join(self._text),
            started=self._started,
            ended=last if isinstance(last, Ended) else None,
            last_seq=last.seq if last else 0,
            thought="".join(self._thought),
            tokens=self._tokens,
        )


def read_outcome(events: Sequence[Event]) -> Outcome:
    """Fold a complete log, from its first event."""
    fold = Fold()
    fold.add(events)
    return fold.outcome
