"""What has changed since a worker last looked: counted, for everybody and for each, and waited for."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import NamedTuple


class News(NamedTuple):
    """``line``: a claim could bring something. ``own``: a renewal could, for this worker was told something."""

    line: bool
    own: bool


class Mark(NamedTuple):
    """A point in time: how often the line had changed, and how often this worker had been told something."""

    line: int = -1
    own: int = -1


class Marks:
    """By worker. Thread-safe."""

    def __init__(self) -> None:
        self._told = threading.Condition()
        self._line = 0
        self._own: defaultdict[str, int] = defaultdict(int)
        self._seen: dict[str, Mark] = {}

    def tell(self, worker: str = "") -> None:
        """Something is new for ``worker``, or in the line."""
        with self._told:
            if worker:
                self._own[worker] += 1
            else:
                self._line += 1
            self._told.notify_all()

    def tell_everybody(self) -> None:
        """Everything may have changed."""
        with self._told:
            for worker in self._own:
                self._own[worker] += 1
            self._line += 1
            self._told.notify_all()

    def mark(self, worker: str) -> Mark:
        with self._told:
            return self._mark(worker)

    def wait(self, worker: str, mark: Mark, seconds: float) -> Mark:
        """The mark once it is another than ``mark``, or after ``seconds``."""
        with self._told:
            self._told.wait_for(lambda: self._mark(worker) != mark, seconds)
            return self._mark(worker)

    def changed(self, worker: str) -> News:
        """What has changed since this was last asked; everything, the first time."""
        with self._told:
            now = self._mark(worker)
            before, self._seen[worker] = self._seen.get(worker, Mark()), now
            return News(now.line != before.line, now.own != before.own)

    def _mark(self, worker: str) -> Mark:
        return Mark(self._line, self._own[worker])
