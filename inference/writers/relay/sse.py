"""Server-sent events out of bytes, however the network cut them, in bounded memory."""

from __future__ import annotations

from ...errors import UpstreamError

LONGEST_EVENT = 2**20  # bytes
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # which may stand at the very beginning


class EventParser:
    """``feed`` it what arrives: it returns what is complete as pairs of an event's name and its data.

    Lines end with LF, CR or CRLF; comments, ids and unknown fields are left out. Raises ``UpstreamError``
    for an event over ``longest`` bytes.
    """

    def __init__(self, longest: int = LONGEST_EVENT) -> None:
        self._longest = longest
        self._line: list[bytes] = []  # the parts of a line that has not ended
        self._begun = 0  # bytes of that line
        self._kept = 0  # bytes of the event's lines of data
        self._after_cr = False
        self._name, self._data = b"", list[bytes]()

    @property
    def is_between(self) -> bool:
        """What comes next is a line's beginning, and an event's."""
        return not (self._line or self._data or self._name or self._after_cr)

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]  # the line ended with the CR before it
        elif not chunk:
            return []
        self._after_cr = chunk[-1:] == b"\r"
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = chunk.split(b"\n")
        events = []
        if lines:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line.clear()
            self._begun = 0
            events = [event for line in lines if (event := self._take(line)) is not None]
        if rest:
            self._line.append(rest)
            self._begun += len(rest)
            self._check(self._begun)
        return events

    def finish(self) -> list[tuple[bytes, bytes]]:
        """The connection is over: an event that only misses its empty line counts."""
        return self.feed(b"\n\n")

    def _take(self, line: bytes) -> tuple[bytes, bytes] | None:
        if not line:
            return self._dispatch()
        self._check(len(line))
        field, _, value = line.partition(b":")
        if field in (b"data", BYTE_ORDER_MARK + b"data"):
            self._data.append(value.removeprefix(b" "))
            self._kept += len(line)
        elif field == b"event":
            self._name = value.removeprefix(b" ")
        return None

    def _dispatch(self) -> tuple[bytes, bytes] | None:
        event = (self._name, b"\n".join(self._data)) if self._data else None
        self._name, self._kept = b"", 0
        self._data.clear()
        return event

    def _check(self, more: int) -> None:
        if self._kept + more > self._longest:
            raise UpstreamError(f"it sent an event of over {self._longest:,} bytes")
