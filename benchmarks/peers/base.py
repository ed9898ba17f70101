"""What an engine has to offer to be measured. Torch-free: some engines have an environment of their own."""

from __future__ import annotations

import ctypes
import signal
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from benchmarks.figures import Answer
from benchmarks.loads import Ask

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Spec:
    """What an engine is started with.

    streams: most sequences at once. longest: most tokens of one. prefix: what all prompts begin with.
    options: passed on to the engine's own constructor (ours), or where to find it (others).
    """

    model: str
    device: str
    threads: int
    streams: int
    longest: int
    prefix: list[int] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Tokens of one answer, with when each came by ``time.perf_counter``."""

    name: str
    token_ids: list[int]
    at: list[float]
    finished: bool
    cached_tokens: int | None = None


class Engine(Protocol):
    def add(self, ask: Ask, prompt: list[int]) -> None:
        """Queue an answer: greedy, past any end of text."""

    def step(self, patience: float) -> list[Event]:
        """Compute, or wait for what is being computed, at most about ``patience`` seconds where that is possible."""

    def abort(self) -> list[Event]:
        """Give everything up; what had come so far."""

    def facts(self) -> dict[str, Any]:
        """How the engine runs: weights, sizes, counters."""

    def close(self) -> None:
        """End what the engine started."""


class Drive:
    """Plays a wave of asks on an engine and notes when the tokens come."""

    def __init__(self, engine: Engine, asks: list[Ask], limit: float) -> None:
        self.engine, self.limit = engine, limit
        self.followers = {ask.follows: ask for ask in asks if ask.follows}
        self.coming = sorted((ask for ask in asks if not ask.follows), key=lambda ask: ask.due, reverse=True)
        self.running: dict[str, list[int]] = {}
        self.answers: dict[str, Answer] = {}
        self.began = time.perf_counter()

    def play(self) -> dict[str, Any]:
        while (self.coming or self.running) and self.now() < self.limit:
            self._submit_due()
            if self.running:
                self._note(self.engine.step(self._patience()))
            else:
                time.sleep(max(0.0, self._patience()))
        if self.running:
            self._note(self.engine.abort())
        return {"answers": {name: asdict(answer) for name, answer in self.answers.items()}}

    def now(self) -> float:
        return time.perf_counter() - self.began

    def _patience(self) -> float:
        due = self.coming[-1].due if self.coming else self.limit
        return min(due, self.limit) - self.now()

    def _submit_due(self) -> None:
        while self.coming and self.coming[-1].due <= self.now():
            ask = self.coming.pop()
            self._submit(ask, ask.prompt, ask.due)

    def _submit(self, ask: Ask, prompt: list[int], due: float) -> None:
        self.running[ask.name] = prompt
        self.answers[ask.name] = Answer(due, len(prompt), tenant=ask.tenant)
        self.engine.add(ask, prompt)

    def _note(self, events: list[Event]) -> None:
        for event in events:
            answer = self.answers[event.name]
            answer.at += [at - self.began for at in event.at]
            answer.token_ids += event.token_ids
            answer.finished = event.finished
            if event.cached_tokens is not None:
                answer.cached_tokens = event.cached_tokens
            if event.finished:
                self._finish(event.name, answer)

    def _finish(self, name: str, answer: Answer) -> None:
        prompt = self.running.pop(name)
        if follower := self.followers.get(name):
            self._submit(follower, prompt + answer.token_ids + follower.prompt, self.now())


def die_with_parent() -> None:
    """Even when this process is stopped, and whatever ended the benchmark (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
