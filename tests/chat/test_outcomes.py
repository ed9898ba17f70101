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


def outcome_of(*events):
    return read_outcome([Started(1, "w", "m", "r", 3), *events])


def test_thoughts_are_kept_apart_from_the_text():
    outcome = outcome_of(Text(2, "", (1,), thought="H"), Text(3, "Y", (2,), thought="m."), Text(4, "es.", (3,)))
    assert (outcome.thought, outcome.text) == ("Hm.", "Yes.")


@pytest.mark.parametrize(
    ("text", "thought", "reason", "before", "state", "words"),
    [
        ("Yes.", "Hm.", "stop", "", "done", ""),
        ("", "Hm.", "stop", "", "failed", "thought about this"),
        ("", "Hm.", "length", "", "failed", "for as long as"),
        (" \n", "", "stop", "", "failed", "before the first word"),
        ("", "", "stop", "So far", "done", ""),
        ("", "Hm.", "length", "So far", "done", ""),
        ("", "Hm.", "cancelled", "", "stopped", ""),
    ],
)
def test_an_answer_without_a_word_says_so(text, thought, reason, before, state, words):
    events = Text(2, text, (1,), thought=thought), Ended(3, reason, 1)
    outcome = outcome_of(*events).as_answer(before)
    assert outcome.state == state
    assert words in outcome.ended.error_message
    assert bool(outcome.ended.error_message) == (state == "failed")
    assert outcome.ended.output_tokens == 1


@pytest.mark.parametrize(
    ("text", "reason", "can_continue"),
    [("Yes", "length", True), ("", "length", False), ("Yes", "stop", False), ("", "cancelled", True)],
)
def test_an_answer_that_had_no_room_for_another_word_is_not_to_go_on(text, reason, can_continue):
    assert outcome_of(Text(2, text, (1,)), Ended(3, reason, 1)).can_continue is can_continue


@pytest.mark.parametrize("code", ["prompt_too_long", "invalid_messages", "no_words"])
def test_what_would_fail_again_is_not_to_go_on(code):
    assert outcome_of(Ended(2, "failed", error_code=code)).can_continue is False
