"""Thoughts told apart from answers, however their pieces are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inference.writers.text import FAMILIES, Splitter, find_lone_end, opened_by

THINK = FAMILIES[0]


def split(pieces, **options):
    splitter = Splitter(**options)
    parts = [splitter.feed(piece) for piece in pieces] + [splitter.finish()]
    return "".join(thought for thought, _ in parts), "".join(text for _, text in parts)


SPELLED = {
    "<think>\nHm.\n</think>\n\nYes.": ("\nHm.\n", "Yes."),
    "\n<think>Hm.</think>Yes.": ("Hm.", "Yes."),
    "<think></think>Yes.": ("", "Yes."),
    "<think>a</think>\n<think>b</think> Yes.": ("ab", "Yes."),
    "[THINK]Hm.[/THINK]Yes.": ("Hm.", "Yes."),
    "<seed:think>Hm.</seed:think>Yes.": ("Hm.", "Yes."),
    "<|channel>thought\nHm.<channel|>Yes.": ("\nHm.", "Yes."),
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.": ("Hm.", "Yes."),
    "<|channel|>final<|message|>Yes.": ("", "Yes."),
    "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Yes.": ("Hm.", "Yes."),
    "◁think▷Hm.◁/think▷Yes.": ("Hm.", "Yes."),
    "</think>\n\nYes.": ("", "Yes."),
    "<think>Hm, never over": ("Hm, never over", ""),
    "<think>half an end </thi": ("half an end </thi", ""),
    "<think>1 < 2 and </b></think>Yes.": ("1 < 2 and </b>", "Yes."),
    # no thoughts at all
    "": ("", ""),
    "  \n Yes.": ("", "  \n Yes."),
    "<thi": ("", "<thi"),
    "<thin line>": ("", "<thin line>"),
    "<div>Yes.</div>": ("", "<div>Yes.</div>"),
    "[THIS]": ("", "[THIS]"),
    "`<think>` opens a thought, `</think>` ends it.": ("", "`<think>` opens a thought, `</think>` ends it."),
    "```xml\n<think>\nHm.\n</think>\n```": ("", "```xml\n<think>\nHm.\n</think>\n```"),
    "It says <think>Hm.</think> first.": ("", "It says <think>Hm.</think> first."),
    "<think>Hm.</think>Models write <think>a</think>.": ("Hm.", "Models write <think>a</think>."),
}


@pytest.mark.parametrize("spelled", SPELLED)
def test_thoughts_are_told_apart_wherever_the_text_is_cut(spelled):
    expected = SPELLED[spelled]
    assert split([spelled]) == expected
    assert split(spelled) == expected, "letter by letter"
    for first, second in itertools.combinations(range(len(spelled) + 1), 2):
        assert split([spelled[:first], spelled[first:second], spelled[second:]]) == expected


OPENED = {
    "Hm.\n</think>\n\nYes.": ("Hm.\n", "Yes."),
    "\nHm.</think>Yes.": ("\nHm.", "Yes."),
    "<think>Hm.</think>Yes.": ("Hm.", "Yes."),
    "</think>\n\nYes.": ("", "Yes."),
    "Hm, <think> is a mark</think>Yes: </think>": ("Hm, <think> is a mark", "Yes: </think>"),
    "never over": ("never over", ""),
    "</thi": ("</thi", ""),
    "": ("", ""),
}


@pytest.mark.parametrize("spelled", OPENED)
def test_a_thought_that_the_prompt_has_begun_ends_where_its_end_is_spelled(spelled):
    for cut in range(len(spelled) + 1):
        assert split([spelled[:cut], spelled[cut:]], opened=THINK) == OPENED[spelled]


def test_an_answer_that_goes_on_has_begun():
    assert split(["<think>", " is a mark"], begun=True) == ("", "<think> is a mark")
    assert split(["<think>", " is a mark"], begun=True, opened=THINK) == ("", "<think> is a mark")


@given(st.lists(st.sampled_from(["<", "think", ">", "</", "a", "\n", " ", "[THINK]", "</think>", "<think>"])))
@example(["<", "think", ">", "<", "</", "think", ">"])
def test_no_mark_at_the_beginning_reaches_the_answer_and_cuts_change_nothing(pieces):
    whole = "".join(pieces)
    assert split(pieces) == split([whole])
    _, text = split(pieces)
    assert not text.lstrip().startswith(("<think>", "</think>", "[THINK]"))
    assert text in whole


def test_what_was_told_apart_elsewhere_is_followed_by_the_answer():
    splitter = Splitter(THINK)
    splitter.saw_thought()
    assert splitter.feed("\n\nYes.") == ("", "Yes.")


def test_a_prompt_tells_whether_it_has_begun_a_thought():
    assert opened_by("<|im_start|>assistant\n<think>\n") == THINK
    assert opened_by("<｜Assistant｜><think>") == THINK
    assert opened_by("[/INST][THINK]").closes == "[/THINK]"
    assert opened_by("<|im_start|>assistant\n<think>\n\n</think>\n\n") is None
    assert opened_by("<|assistant|>") is None


def test_the_end_of_a_thought_that_never_began_is_found_on_a_line_of_its_own():
    assert find_lone_end("Let me see.\n</think>\n\nYes.") == THINK
    assert find_lone_end("It ends with </think>, like this.") is None
    assert find_lone_end("Write\n<think>\nHm.\n</think>\n") is None
