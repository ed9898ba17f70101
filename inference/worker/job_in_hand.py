"""A job on a worker's engine, and what is written of it until the next flush."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..messages import Choice, Claim, Event, Text


@dataclass(slots=True)
class JobInHand:
    """A claimed job on the engine, and its events since the last flush."""

    claim: Claim
    next_seq: int
    started: float
    text: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    without_ids: int = 0
    choices: list[Choice] = field(default_factory=list)
    tokens: int = 0  # of the answer so far, those of other workers included
    ready: list[Event] = field(default_factory=list)

    def take_seq(self) -> int:
        self.next_seq += 1
        return self.next_seq - 1

    def take_events(self) -> list[Event]:
        """Everything since the last flush, the tokens as one event."""
        if self.token_ids or self.text or self.thought or self.without_ids or self.choices:
            ids, choices = tuple(self.token_ids), tuple(self.choices)
            text, thought = "".join(self.text), "".join(self.thought)
            self.ready.append(Text(self.take_seq(), text, ids, self.without_ids, choices, thought))
            self.text, self.thought, self.token_ids, self.without_ids, self.choices = [], [], [], 0, []
        events, self.ready = self.ready, []
        return events
