"""One line of a page."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.common.text import one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" a\n\tb  c ", "a b c"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\x00b\x1b[31m", "ab[31m"),
        ("نام\u200cها", "نام\u200cها"),
        ("👩\u200d🚀 🏴\U000e0067\U000e0062\U000e007f", "👩\u200d🚀 🏴\U000e0067\U000e0062\U000e007f"),
        ("word " * 9, "word word word word"),
    ],
)
def test_a_line_has_words_and_nothing_that_is_not_seen(text, line):
    assert one_line(text, 20) == line


@given(st.text())
def test_no_line_has_a_control_character_or_turns_the_direction(text):
    line = one_line(text, 50)
    assert not any(unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") for letter in line)
    assert not any(
        unicodedata.bidirectional(letter) in ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI") for letter in line
    )
    assert len(line) <= 50
