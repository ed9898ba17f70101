"""A file that outlives a killed process: the memory transport's token logs, appended as they grow.

One JSON line per event, one write per publish. The writes reach the kernel at once, so a ``kill -9``
loses nothing; a power cut may lose the last seconds, which the database's own setting allows too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..messages import Event, decode_event, encode_event


class Journal:
    """Events by generation in ``path``. Not thread-safe: the transport calls it under its lock."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)

    def append(self, events: Mapping[str, Sequence[Event]]) -> None:
        lines = [_line(generation, event) for generation, run in events.items() for event in run]
        if lines:
            self._file.write(b"".join(lines))

    def read(self) -> dict[str, list[Event]]:
        """What is there, in order. A last line cut short by the kill is left out."""
        self._file.seek(0)
        logs: dict[str, list[Event]] = {}
        for line in self._file.read().split(b"\n")[:-1]:
            generation, _, event = line.partition(b" ")
            logs.setdefault(generation.decode(), []).append(decode_event(event))
        return logs

    def clear(self) -> None:
        """Every answer in it is in the database."""
        self._file.truncate(0)

    def close(self) -> None:
        self._file.close()


def _line(generation: str, event: Event) -> bytes:
    return generation.encode() + b" " + encode_event(event) + b"\n"
