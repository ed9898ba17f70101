"""A prompt's text as tokens, in which only the template's own control marks are tokens of that kind."""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import cached_property
from typing import Any

from tokenizers import AddedToken, Tokenizer

from .quoting import Quoting

BREAK = "\N{OBJECT REPLACEMENT CHARACTER}break\N{OBJECT REPLACEMENT CHARACTER}"  # a mark that no tokenizer has

Spans = list[tuple[int, int, int]]  # token, and where its text begins and ends


class ControlMarks:
    """``tokenizer``: a transformers tokenizer. A mark is an added token that is special or looks like one; added words
    are words. ``alphabet``: the characters that stand in marks, but for spaces.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        known = tokenizer.added_tokens_decoder.items()
        self._marks = {
            token.content: number for number, token in known if token.special or not _is_words(token.content)
        }
        self._ids = frozenset(self._marks.values())
        self.alphabet = "".join(
            sorted({character for mark in self._marks for character in mark if mark.strip()} - SPACES)
        )

    def encode(self, quoting: Quoting, text: str) -> list[int]:
        """``text`` as a template wrote it, with what is quoted in private characters."""
        spelled = quoting.spell(text)
        if not self._tokenizer.is_fast:
            return self._encode_parts(quoting, text, spelled)
        found = self._tokenizer.backend_tokenizer.encode(spelled, add_special_tokens=False)
        marks = [
            (place, *span)
            for place, (token_id, span) in enumerate(zip(found.ids, found.offsets, strict=True))
            if token_id in self._ids
        ]
        forged = [place for place, begin, end in marks if quoting.is_quoted(text[begin:end])]
        return self._without(forged, marks, found.ids, spelled) if forged else list(found.ids)

    def encode_text(self, text: str) -> list[int]:
        """``text`` in which nothing is a mark."""
        return self._plain(text, after_mark=False) if self._tokenizer.is_fast else self._spelled_out(text)

    def _without(self, forged: list[int], marks: Spans, ids: list[int], text: str) -> list[int]:
        """``ids`` with other tokens for the stretches between true marks that hold ``forged`` ones (their places)."""
        token_ids, first, start, forgeries = list[int](), 0, 0, frozenset(forged)
        true = [mark for mark in marks if mark[0] not in forgeries]
        for place, begin, end in [*true, (len(ids), len(text), len(text))]:
            is_touched = bisect_left(forged, first) < bisect_left(forged, place)
            token_ids += self._plain(text[start:begin], bool(start)) if is_touched else ids[first:place]
            token_ids += ids[place : place + 1]
            first, start = place + 1, end
        return token_ids

    def _plain(self, text: str, after_mark: bool) -> list[int]:
        """Tokens of a text in which no mark is one."""
        found = self._bare.encode((BREAK if after_mark else "") + text, add_special_tokens=False)
        ids = list(found.ids[1:] if after_mark else found.ids)
        if self._ids.isdisjoint(ids) or len(text) <= 1:
            return ids
        offset = len(BREAK) if after_mark else 0  # some models know marks as words, too: cut the first of them apart
        place = next(place for place, token_id in enumerate(ids) if token_id in self._ids) + after_mark
        cut = max(1, found.offsets[place][0] - offset + 1)
        return self._plain(text[:cut], after_mark) + self._plain(text[cut:], True)

    @cached_property
    def _bare(self) -> Tokenizer:
        """The same model without any added token."""
        backend = self._tokenizer.backend_tokenizer
        bare = Tokenizer(backend.model)
        if backend.normalizer is not None:
            bare.normalizer = backend.normalizer
        if backend.pre_tokenizer is not None:
            bare.pre_tokenizer = backend.pre_tokenizer
        bare.add_special_tokens([AddedToken(BREAK, special=True, normalized=False)])
        return bare

    def _encode_parts(self, quoting: Quoting, text: str, spelled: str) -> list[int]:
        """Where the tokenizer does not tell where its tokens lie: what is between two true marks by itself."""
        token_ids, start = list[int](), 0
        for mark in self._pattern.finditer(spelled):
            if not quoting.is_quoted(text[mark.start() : mark.end()]):
                token_ids += [*self._spelled_out(spelled[start : mark.start()]), self._marks[mark[0]]]
                start = mark.end()
        return token_ids + self._spelled_out(spelled[start:])

    def _spelled_out(self, text: str) -> list[int]:
        ids = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True) if text else []
        return list(ids)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._marks, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


SPACES = frozenset(" \t\r\n")


def _is_words(text: str) -> bool:
    return text.replace(" ", "").isalnum() or not text.strip()
