"""Text that a chat template quotes, told apart from the template's own through whatever the template does with it.

Every character of a content that could be part of a control mark is replaced by a private one that stands for it, one
for one. Private characters survive everything that happens to a string, so that no mark is made by words that were left
out between its halves, and none is missed. For a template's rules to see the text as it is, ``Quoted`` compares and
searches what is spelled and only cuts what it holds.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex

FIRST, LAST = 0xF0000, 0xFFFFD  # the private characters of plane 15


class Quoting:
    """How the texts of one prompt are quoted: ``alphabet`` are the characters that stand in control marks."""

    def __init__(self, alphabet: str, texts: Iterable[str]) -> None:
        used = set().union(*texts)
        while True:
            start = FIRST + secrets.randbelow(LAST - FIRST - len(alphabet))
            private = [chr(start + place) for place in range(len(alphabet))]
            if used.isdisjoint(private):
                break
        self._quotes = str.maketrans(dict(zip(alphabet, private, strict=True)))
        self._spellings = str.maketrans(dict(zip(private, alphabet, strict=True)))
        self._private = frozenset(private)

    def quote(self, text: str) -> Quoted:
        return self.hold(text.translate(self._quotes))

    def hold(self, text: str) -> Quoted:
        """``text`` whose quoted characters are private already."""
        held = Quoted(text)
        held._quoting = self
        return held

    def spell(self, text: str) -> str:
        return str.translate(text, self._spellings)

    def is_quoted(self, text: str) -> bool:
        """Whether any character of ``text`` is."""
        return not self._private.isdisjoint(text)


class Quoted(str):
    """A string of which a template sees what it spells. Offsets are the same in both."""

    __slots__ = ("_quoting",)

    _quoting: Quoting

    @property
    def _spelled(self) -> str:
        return self._quoting.spell(str.__str__(self))

    def _hold(self, start: int, end: int) -> Quoted:
        return self._quoting.hold(str.__getitem__(self, slice(start, end)))

    def __str__(self) -> str:
        return self

    def __eq__(self, other: object) -> bool:
        return self._spelled == (other._spelled if isinstance(other, Quoted) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._spelled)

    def __contains__(self, other: object) -> bool:
        return _spelled(other) in self._spelled

    def __add__(self, other: str) -> str:
        return self._quoting.hold(str.__add__(self, other))

    def __radd__(self, other: str) -> str:
        return self._quoting.hold(str.__add__(other, self))

    def __getitem__(self, place: SupportsIndex | slice) -> str:
        return self._quoting.hold(str.__getitem__(self, place))

    def strip(self, chars: str | None = None, /) -> str:
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None, /) -> str:
        return self._hold(len(self) - len(self._spelled.lstrip(_spelled(chars))), len(self))

    def rstrip(self, chars: str | None = None, /) -> str:
        return self._hold(0, len(self._spelled.rstrip(_spelled(chars))))

    def removeprefix(self, prefix: str, /) -> str:
        return self._hold(len(prefix) if self.startswith(prefix) else 0, len(self))

    def removesuffix(self, suffix: str, /) -> str:
        return self._hold(0, len(self) - (len(suffix) if suffix and self.endswith(suffix) else 0))

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._found(self._spelled.split(_spelled(sep), maxsplit))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._found(self._spelled.rsplit(_spelled(sep), maxsplit))

    def splitlines(self, keepends: bool = False) -> list[str]:
        return self._found(self._spelled.splitlines(keepends))

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        before, found, after = self._found(self._spelled.partition(_spelled(sep)))
        return before, found, after

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        before, found, after = self._found(self._spelled.rpartition(_spelled(sep)))
        return before, found, after

    def _found(self, parts: Iterable[str]) -> list[str]:
        """What is held where ``parts`` are spelled, one after another."""
        spelled, found, start = self._spelled, [], 0
        for part in parts:
            start = spelled.index(part, start)
            found.append(self._hold(start, start + len(part)))
            start += len(part)
        return list[str](found)

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        if not old:
            return self._quoting.quote(self._spelled.replace(old, _spelled(new), count))
        parts = self._spelled.split(_spelled(old), count)
        kept, start = list[str](), 0
        for part in parts:
            kept.append(str.__getitem__(self, slice(start, start + len(part))))
            start += len(part) + len(old)
        return self._quoting.hold(str.join(new, kept))


def _spelled(text: Any) -> Any:
    return text._spelled if isinstance(text, Quoted) else text


def _asking(name: str) -> Callable[..., Any]:
    """A method that says something about the text."""

    def ask(self: Quoted, *args: Any) -> Any:
        return getattr(self._spelled, name)(*map(_spelled, args))

    return ask


def _changing(name: str) -> Callable[..., Any]:
    """A method that makes another text of it, all of which is quoted."""

    def change(self: Quoted, *args: Any) -> Quoted:
        return self._quoting.quote(getattr(self._spelled, name)(*map(_spelled, args)))

    return change


ASKING = "startswith endswith find rfind index rindex count isalpha isalnum isdigit isdecimal isnumeric islower isupper"
CHANGING = "lower upper title capitalize casefold swapcase"
for _name in ASKING.split():
    setattr(Quoted, _name, _asking(_name))
for _name in CHANGING.split():
    setattr(Quoted, _name, _changing(_name))


def joined(parts: Iterable[str]) -> str:
    """``"".join(parts)`` that stays quoted: what Jinja makes of a block or a macro."""
    pieces = list(parts)
    quoting = next((piece._quoting for piece in pieces if isinstance(piece, Quoted)), None)
    return quoting.hold("".join(pieces)) if quoting else "".join(pieces)
