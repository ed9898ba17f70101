"""Text of an answer, token by token.

What is returned piece by piece is final: the pieces concatenated are the answer. A character whose bytes
are not all there yet is held back, and so is the beginning of a possible stop string.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[list[int]], str]

CONTEXT = 8  # tokens of the prompt's end that decide whether the answer begins with a space
INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class IncrementalDecoder:
    """Turns tokens into complete characters.

    A tokenizer may render a token differently after another (SentencePiece drops the space before
    the first), so new tokens are decoded together with those of the last complete piece, and the text of
    that piece is cut off again. ``context`` are the tokens before the first, the prompt's end.
    """

    def __init__(self, decode: Decode, context: Sequence[int] = ()) -> None:
        self._decode = decode
        self._tokens = list(context)[-CONTEXT:]
        self._known = len(self._tokens)  # of the window's tokens, those of the last complete piece
        self._emitted = len(decode(self._tokens).rstrip(INCOMPLETE)) if self._tokens else 0

    def push(self, token_id: int) -> str:
        """The characters that this token completes."""
        self._tokens.append(token_id)
        text = self._decode(self._tokens)
        complete = text.rstrip(INCOMPLETE)
        new, self._emitted = complete[self._emitted :], max(self._emitted, len(complete))
        if new and complete == text:
            self._slide()
        return new

    def _slide(self) -> None:
        self._tokens = self._tokens[self._known :]
        self._known = len(self._tokens)
        self._emitted = len(self._decode(self._tokens))


class Detokenizer:
    """The text of one answer. ``matched`` becomes the stop string that was found and cut off.

    Stop strings are not looked for in the text of the first ``deaf`` tokens.
    """

    def __init__(self, decode: Decode, context: Sequence[int] = (), stop: tuple[str, ...] = (), deaf: int = 0) -> None:
        self._decoder = IncrementalDecoder(decode, context)
        self._stop = stop
        self._deaf = deaf
        self._held = ""
        self.matched: str | None = None

    def push(self, token_id: int) -> str:
        """The text that is final with this token."""
        new = self._decoder.push(token_id)
        if self._deaf > 0:
            self._deaf -= 1
            return new
        return self._cut(self._held + new) if self._stop else new

    def finish(self) -> str:
        """What was held back as a possible stop string. Bytes of an unfinished character are dropped."""
        text, self._held = self._held, ""
        return text

    def _cut(self, text: str) -> str:
        """``text`` without a stop string, which ends it, and without the possible beginning of one, which is held."""
        found = [(at, stop) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            at, self.matched = min(found)
            self._held = ""
            return text[:at]
        keep = len(text) - max(_overlap(text, stop) for stop in self._stop)
        self._held = text[keep:]
        return text[:keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest proper beginning of ``stop`` that ``text`` ends with."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
