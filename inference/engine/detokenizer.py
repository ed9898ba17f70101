"""Text of an answer, token by token.

What is returned piece by piece is final: the pieces concatenated are the answer. A character whose bytes
are not all there yet is held back, at most three bytes, and so is the beginning of a possible stop string.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import lru_cache
from typing import Any, Protocol

from tokenizers import decoders, pre_tokenizers

Decode = Callable[[list[int]], str]

CONTEXT = 8  # tokens of the prompt's end that decide whether the answer begins with a space
INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
LONGEST_WAIT = 3  # bytes, or tokens that may each be one: no character is longer than one more

utf8 = codecs.getincrementaldecoder("utf-8")


class Decoder(Protocol):
    def push(self, token_id: int) -> str:
        """The characters that this token completes, and those that nothing can complete any more."""

    def finish(self) -> str:
        """What was held back, unless it is certain to be part of a character."""


class PieceDecoder:
    """Turns tokens that are whole pieces of text into it, except for those that stand for a byte (SentencePiece's
    ``byte_values``) and those that are ``hidden``.

    A tokenizer may render a token differently after another (SentencePiece drops the space before the first), so a
    piece is decoded after the one before, whose text is cut off again. ``context`` are the tokens before the first,
    the prompt's end.
    """

    def __init__(
        self, decode: Decode, context: Sequence[int], byte_values: Mapping[int, int], hidden: Set[int]
    ) -> None:
        self._decode, self._values, self._hidden = decode, byte_values, hidden
        self._before = list(context[-CONTEXT:])
        self._cut = len(decode(self._before)) if self._before else 0  # characters of ``before``
        self._bytes = utf8(errors="replace")

    def push(self, token_id: int) -> str:
        if token_id in self._hidden:
            return ""
        if (value := self._values.get(token_id)) is not None:
            self._before, self._cut = [token_id], len(self._decode([token_id]))
            return self._bytes.decode(bytes([value]))
        broken = self._bytes.decode(b"", final=True)
        text = self._decode([*self._before, token_id])
        new = text[self._cut :]
        if new:
            self._before, self._cut = [token_id], len(self._decode([token_id]))
        elif len(self._before) < CONTEXT:
            self._before.append(token_id)
        return broken + new

    def finish(self) -> str:
        return ""


class IncrementalDecoder:
    """Turns tokens into complete characters where only the tokenizer knows which are parts of one, and writes a
    replacement character for what is not all there. ``context``: see ``PieceDecoder``.
    """

    def __init__(self, decode: Decode, context: Sequence[int] = ()) -> None:
        self._decode = decode
        self._before, self._new = list(context[-CONTEXT:]), list[int]()
        self._cut = len(decode(self._before)) if self._before else 0
        self._told = 0  # characters of the new tokens' text

    def push(self, token_id: int) -> str:
        self._new.append(token_id)
        text = self._text(self._new)
        new, whole = self._tell(text.rstrip(INCOMPLETE)), not text.endswith(INCOMPLETE)
        if new and whole:
            self._slide(len(self._new))
        while len(self._new) > LONGEST_WAIT and not whole:
            count = self._seam()
            new += self._tell(self._text(self._new[:count]))
            self._slide(count)
        return new

    def finish(self) -> str:
        return self._tell(self._text(self._new))

    def _text(self, tokens: list[int]) -> str:
        return self._decode([*self._before, *tokens])[self._cut :]

    def _seam(self) -> int:
        """After how many of the new tokens their text can be cut in two, which cuts no character."""
        text, new = self._text(self._new), self._new
        cuts = range(1, len(new))
        return next((n for n in cuts if self._text(new[:n]) + self._text(new[n:]) == text), len(new))

    def _tell(self, text: str) -> str:
        new, self._told = text[self._told :], max(self._told, len(text))
        return new

    def _slide(self, count: int) -> None:
        """The first ``count`` of the new tokens are told, and become what others are decoded after."""
        told, self._new = self._new[:count], self._new[count:]
        self._told -= len(self._text(told))
        self._before, self._cut = told, len(self._decode(told))


class ByteDecoder:
    """Turns tokens that stand for bytes, the same wherever they are, into complete characters."""

    def __init__(self, spell: Callable[[int], bytes]) -> None:
        self._spell = spell
        self._decode = utf8(errors="replace").decode

    def push(self, token_id: int) -> str:
        return self._decode(self._spell(token_id))

    def finish(self) -> str:
        return ""


class Detokenizer:
    """The text of one answer. ``matched`` becomes the stop string that was found and cut off.

    Stop strings are not looked for in the text of the first ``deaf`` tokens.
    """

    def __init__(self, decoder: Decoder, stop: tuple[str, ...] = (), deaf: int = 0) -> None:
        self._decoder = decoder
        self._stop = stop
        self._start = re.compile("[" + re.escape("".join(string[0] for string in stop)) + "]") if stop else None
        self._deaf = deaf
        self._held = ""
        self.matched: str | None = None

    def push(self, token_id: int) -> str:
        """The text that is final with this token."""
        new = self._decoder.push(token_id)
        if self._deaf > 0:
            self._deaf -= 1
            return new
        return self._search(new)

    def finish(self) -> str:
        """What was held back as a possible stop string. Bytes of an unfinished character are dropped."""
        last = "" if self.matched is not None else self._search(self._decoder.finish())
        text, self._held = last + self._held, ""
        return text

    def _search(self, new: str) -> str:
        text = self._held + new
        # Nearly all text holds no character that a stop string begins with.
        return self._cut(text) if self._start and self._start.search(text) else text

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


def choose_decoder(tokenizer: Any, visible: Iterable[Iterable[str]] = ()) -> Callable[[Sequence[int]], Decoder]:
    """What makes a decoder for the answer after a prompt's tokens. Spaces stay; special tokens are left out, except for
    the ``visible`` ones (``EngineConfig.visible_tokens``).
    """
    known = tokenizer.get_added_vocab()
    shown = {known[token] for group in map(tuple, visible) if known.keys() >= set(group) for token in group}
    if not tokenizer.is_fast:
        hidden = set(tokenizer.all_special_ids) - shown
        decode = _remembering(tokenizer.decode, hidden, clean_up_tokenization_spaces=False)
        return lambda prompt: IncrementalDecoder(decode, prompt)
    backend = tokenizer.backend_tokenizer
    hidden = _special_tokens(backend) - shown
    if isinstance(backend.decoder, decoders.ByteLevel):
        spell = lru_cache(None)(byte_speller(backend, hidden))
        return lambda prompt: ByteDecoder(spell)
    decode, steps = _remembering(backend.decode, hidden), repr(backend.decoder)
    if "ByteLevel" in steps:  # among others
        return lambda prompt: IncrementalDecoder(decode, prompt)
    values = _byte_values(backend) if "ByteFallback" in steps else {}
    return lambda prompt: PieceDecoder(decode, prompt, values, hidden)


def _byte_values(backend: Any) -> dict[int, int]:
    """The bytes that tokens stand for, as SentencePiece names these."""
    numbers = {value: backend.token_to_id(f"<0x{value:02X}>") for value in range(256)}
    return {token_id: value for value, token_id in numbers.items() if token_id is not None}


def _remembering(decode: Callable[..., str], hidden: Set[int], **options: bool) -> Decode:
    """``decode`` without the ``hidden`` tokens."""

    def shown(ids: list[int]) -> str:
        return str(
            decode([token_id for token_id in ids if token_id not in hidden], skip_special_tokens=False, **options)
        )

    single = lru_cache(maxsize=1 << 16)(lambda token_id: shown([token_id]))
    return lambda ids: single(ids[0]) if len(ids) == 1 else shown(ids)


def _special_tokens(backend: Any) -> set[int]:
    return {number for number, token in backend.get_added_tokens_decoder().items() if token.special}


def byte_speller(backend: Any, hidden: Set[int] | None = None) -> Callable[[int], bytes]:
    """The bytes of a token of byte-level BPE, whose vocabulary writes each byte as a printable character; none of the
    ``hidden`` ones, by default all special tokens.
    """
    special = _special_tokens(backend) if hidden is None else hidden
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    own = {character: ord(character) for character in alphabet if ord(character) < len(alphabet)}
    others = sorted(set(range(len(alphabet))) - set(own.values()))
    values = own | dict(zip(sorted(set(alphabet) - own.keys()), others, strict=True))

    def spell(token_id: int) -> bytes:
        token = None if token_id in special else backend.id_to_token(token_id)
        if token is None:
            return b""
        if not all(character in values for character in token):  # an added token, which is text as it is
            return str(token).encode()
        return bytes(values[character] for character in token)

    return spell
