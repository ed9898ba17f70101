"""Between the loop that writes an answer and the worker's thread that publishes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ...messages import Choice, Ended, Started
from ..base import Written


@dataclass(slots=True)
class Outbox:
    """What was written of an answer and not yet taken by the worker; ``is_new`` when there is any. ``news`` is called
    for all but text, of whose coming the relay hears for many answers at once.
    """

    generation: str
    news: Callable[[], None]
    lock: threading.Lock = field(default_factory=threading.Lock)
    started: Started | None = None
    text: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    tokens: int = 0
    total: int = 0  # tokens of the answer, those of earlier workers included
    ended: Ended | None = None
    returned: bool = False
    closed: bool = False
    is_new: bool = False

    def put(self, text: str, tokens: int, choices: Iterable[Choice] = (), thought: str = "") -> None:
        with self.lock:
            if self.closed:
                return
            self.text.append(text)
            if thought:
                self.thought.append(thought)
            self.choices.extend(choices)
            self.tokens += tokens
            self.total += tokens
            self.is_new = True

    def close(self) -> None:
        """What comes from now on is nobody's."""
        with self.lock:
            self.closed = True

    def tell(self, *, started: Started | None = None, ended: Ended | None = None, returned: bool = False) -> None:
        with self.lock:
            self.started = started or self.started
            self.ended = self.ended or ended
            self.returned = returned
            self.is_new = True
        self.news()

    def take(self) -> Written:
        with self.lock:
            text, thought, tokens = "".join(self.text), "".join(self.thought), self.tokens
            choices = tuple(self.choices)
            self.text, self.thought, self.choices, self.tokens, self.is_new = [], [], [], 0, False
            started, self.started = self.started, None
            return Written(self.generation, started, text, (), tokens, choices, self.ended, self.returned, thought)
