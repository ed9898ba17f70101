"""A file that outlives a killed process: the memory transport's token logs, appended as they grow.

One JSON line per event, one write per publish. The writes reach the kernel at once, so a ``kill -9``
loses nothing; a power cut may lose the last seconds, which the database's own setting allows too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..messages import Event
from ..wire import decode_event, encode_event

logger = logging.getLogger(__name__)

Logs = Mapping[str, Sequence[Event]]


class Journal:
    """Events by generation in ``path``. Not thread-safe: the transport calls it under its lock."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        self._path = path
        self._file = path.open("ab")

    @property
    def size(self) -> int:
        """Bytes."""
        return self._file.tell()

    def append(self, events: Logs) -> None:
        self._file.writelines(_line(generation, event) for generation, run in events.items() for event in run)
        self._file.flush()

    def read(self) -> dict[str, list[Event]]:
        """What is there, in order. A line cut short by the kill, or of another version, is left out."""
        logs: dict[str, list[Event]] = {}
        for line in self._path.read_bytes().splitlines():
            generation, _, event = line.partition(b" ")
            try:
                decoded = decode_event(event)
            except (ValueError, TypeError):
                logger.warning("the journal has a line that cannot be read: %r", line[:80])
                continue
            logs.setdefault(generation.decode(), []).append(decoded)
        return logs

    def rewrite(self, events: Logs) -> None:
        """Keep ``events`` alone; atomic, so that a kill leaves the old file or the new one."""
        fresh = self._path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(b"".join(_line(generation, event) for generation, run in events.items() for event in run))
        fresh.replace(self._path)
        self._file.close()
        self._file = self._path.open("ab")


def _line(generation: str, event: Event) -> bytes:
    return generation.encode() + b" " + encode_event(event) + b"\n"
