"""Text that can be kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatapp.common.text import storable, well_formed


def test_what_no_keyboard_writes_is_left_out_and_lines_stay():
    assert storable("a\x00b\x01c\x7f\td\r\ne\x0bf") == "abc\td\r\nef"
    assert storable("مرحبا \u200f🦊\u202e") == "مرحبا \u200f🦊\u202e"


@given(st.lists(st.integers(0, 0x10FFFF).map(chr)).map("".join))
def test_any_text_can_be_encoded_after_it(text):
    encoded = storable(text).encode()
    assert encoded.decode() == storable(text)
    assert storable(storable(text)) == storable(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_without_halves_stays_as_it_is(text):
    assert well_formed(text) == text
