"""What servers write of one answer: halves of characters put together, thoughts told apart, all of it counted."""

from __future__ import annotations

from collections.abc import Iterable

from ...messages import Choice, Claim, Text
from ..text import Family, Splitter
from .outbox import Outbox

BETWEEN = "\n\n"  # a thought that was cut off and the one that begins anew


class Words:
    """``text`` is all of the answer that is or will be published, ``length`` its characters; ``tokens`` came with it.
    ``size`` counts the characters of thoughts, too. Every request begins with ``begin``.
    """

    def __init__(self, claim: Claim, outbox: Outbox) -> None:
        written = [event for event in claim.log if isinstance(event, Text)]
        self._outbox = outbox
        self._text, self.length = [claim.text], len(claim.text)
        self._thought = sum(len(event.thought) for event in written)
        self.tokens = sum(event.tokens for event in written if event.text) or (claim.tokens if claim.text else 0)
        self.begin(None, goes_on=False)

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def size(self) -> int:
        return self.length + self._thought

    @property
    def told_thought(self) -> bool:
        """This request has told a thought, or the end of one."""
        return self._splitter.has_thought

    def begin(self, opened: Family | None, *, goes_on: bool) -> None:
        """``opened``: the server's template begins a thought. The request ``goes_on`` with the answer's text; a thought
        that was cut off is begun anew.
        """
        self._splitter = Splitter(opened, begun=goes_on)
        self._in_text, self._in_thought = Half(), Half()
        self._doubtful: list[str] | None = [] if goes_on else None
        self._unmarked: list[str] | None = [] if opened else None
        self._between = BETWEEN if self._thought and not goes_on else ""

    def take(self, text: str, thought: str, tokens: int, choices: Iterable[Choice]) -> None:
        """``thought`` was told apart by the server."""
        more = ""
        if thought:
            thought, self._unmarked = self._in_thought.mend(thought), None
            self._splitter.saw_thought()
            thought = self._doubt(thought)
        if text:
            thought += self._settle()
            more, text = self._splitter.feed(self._in_text.mend(text))
        self._put(thought + more, text, tokens, choices)

    def take_text(self, text: str, tokens: int) -> None:
        """As ``take``; once the answer has begun there is nothing to look for in most texts."""
        is_plain = self._splitter.is_answer and self._doubtful is None and self._unmarked is None and text.isascii()
        if not is_plain or self._in_text.is_open:
            self.take(text, "", tokens, ())
            return
        self._outbox.put(text, tokens)
        self._text.append(text)
        self.length += len(text)
        self.tokens += tokens

    def finish(self, *, is_whole: bool) -> None:
        """The request is over; ``is_whole``: the model came to its own end."""
        thought, text = self._splitter.finish()
        # A server may know a thought by its end alone: to it, an answer that goes on was a thought to its last word.
        text = "".join(self._doubtful or ()) + text
        self._put(thought, text, 0, ())
        if is_whole and self._unmarked and not self._splitter.is_answer:
            self._put("", "".join(self._unmarked), 0, ())  # its server leaves out thoughts and their marks alike

    def _doubt(self, thought: str) -> str:
        if self._doubtful is None:
            return thought
        self._doubtful.append(thought)
        return ""

    def _settle(self) -> str:
        """Text has come after all: what was doubtful was a thought."""
        doubtful, self._doubtful = self._doubtful or (), None
        return "".join(doubtful)

    def _put(self, thought: str, text: str, tokens: int, choices: Iterable[Choice]) -> None:
        if self._unmarked is not None:
            self._unmarked = None if text else [*self._unmarked, thought]
        if thought:
            thought, self._between = self._between + thought, ""
        if thought or text or tokens or choices:
            self._outbox.put(text, tokens, choices, thought)
        self._text.append(text)
        self.length += len(text)
        self._thought += len(thought)
        self.tokens += tokens if text else 0


class Half:
    """Of a character that comes in two pieces, escaped one by one."""

    def __init__(self) -> None:
        self._half = ""

    @property
    def is_open(self) -> bool:
        """The other half is still to come."""
        return bool(self._half)

    def mend(self, text: str) -> str:
        """``text`` with the half before it; half a character alone becomes U+FFFD."""
        text = self._half + text
        self._half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        whole = text[:-1] if self._half else text
        return whole if whole.isascii() else whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
