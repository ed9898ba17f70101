"""One request to a server: how long it is waited for, and what is counted of all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .server import Server

LAST_WORDS_SECONDS = 1.0  # for the usage, after the end of the text
TIMER_SLACK = 1.125  # a timer is set for longer than it need be, so that not every token has to set it


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds until the first token of a request, and between two; ``context`` 0 leaves it to the servers."""

    first_token: float = 60.0
    token: float = 30.0
    context: int = 0


@dataclass(slots=True)
class Totals:
    requests: int = 0
    failed_requests: int = 0
    continued_answers: int = 0
    first_tokens: int = 0
    first_token_seconds: float = 0.0
    output_tokens: int = 0


@dataclass(slots=True)
class Request:
    """One of an answer's, under way. ``finish`` is why its text has ended; empty while it goes on."""

    server: Server
    timer: asyncio.Timeout
    finish: str = ""
    began: float = field(default_factory=time.monotonic)
    clock: Callable[[], float] = field(default_factory=lambda: asyncio.get_running_loop().time)
    until: float = 0.0  # when the timer ends it, on the loop's clock

    def wait(self, seconds: float) -> None:
        """For so long from now on, or a little longer."""
        now = self.clock()
        if now + seconds > self.until:
            self.set_timer(now + seconds * TIMER_SLACK)

    def wait_for_last_words(self) -> None:
        self.set_timer(self.clock() + LAST_WORDS_SECONDS)

    def set_timer(self, until: float) -> None:
        self.until = until
        self.timer.reschedule(until)
