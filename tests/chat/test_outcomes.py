"""A log folded into what came of it, in pieces that may come again, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.chat.outcomes import Fold, read_outcome
from inference.messages import Ended, Started, Text

LOG = [
    Started(1, "first", "m", "r", 3),
    *(Text(seq, f"w{seq} ", without_ids=1) for seq in range(2, 90)),
    Started(90, "second", "m", "r", 3),
    Text(91, "end", without_ids=1),
    Ended(92, "stop", 89),
]


@given(st.lists(st.tuples(st.integers(0, len(LOG)), st.integers(0, 30)), max_size=20))
def test_a_log_read_in_pieces_that_overlap_is_the_log(cuts):
    fold, read = Fold(), 0
    for end, again in sorted(cuts):
        fold.add(LOG[max(0, min(read, end) - again) : end])
        read = max(read, end)
    fold.add(LOG[max(0, read - 5) :])
    assert fold.is_whole
    assert fold.outcome == read_outcome(LOG)
    assert fold.outcome.text == "".join(event.text for event in LOG if isinstance(event, Text))
    assert (fold.outcome.started, fold.outcome.ended, fold.outcome.last_seq) == (LOG[89], LOG[91], 92)


@pytest.mark.parametrize("events", [LOG[5:], [*LOG[:5], *LOG[6:]]])
def test_a_log_with_a_gap_is_not_whole(events):
    fold = Fold()
    fold.add(events)
    assert not fold.is_whole
    assert fold.outcome.ended == LOG[-1]


def test_what_came_before_a_cut_may_be_of_another_log_than_what_comes_after():
    fold = Fold()
    fold.doubt()
    fold.add(LOG[:5])
    assert fold.is_whole, "nothing had come before the cut"
    fold.doubt()
    fold.add(LOG[5:])
    assert not fold.is_whole
