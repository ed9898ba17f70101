"""Prompt assembly."""

from __future__ import annotations

import pytest

from chatapp.chat.prompts import (
    TITLE,
    Instructions,
    Turn,
    assemble_answer,
    assemble_title,
    operator_characters,
)
from inference.messages import ChatMessage

TURNS = [Turn("user", "Hi"), Turn("assistant", "Hello."), Turn("user", "And?")]
PLAIN = "You are a helpful assistant in chatapp."


def test_without_instructions_the_prompt_is_the_assistant_and_the_turns():
    assert assemble_answer(TURNS, Instructions()) == (
        ChatMessage("system", PLAIN),
        ChatMessage("user", "Hi"),
        ChatMessage("assistant", "Hello."),
        ChatMessage("user", "And?"),
    )


def test_instructions_enter_the_system_message_and_blank_ones_do_not():
    system = assemble_answer(TURNS, Instructions(about=" I am Ana. ", style="Be brief."))[0].content
    assert system == (
        f"{PLAIN}\n\nAbout the person you are talking to: I am Ana.\n\nHow they would like you to answer: Be brief."
    )
    assert assemble_answer(TURNS, Instructions(about="  ", style="\n"))[0].content == PLAIN


def test_a_title_is_asked_for_with_the_beginning_of_the_first_message():
    system, user = assemble_title("x" * 1000)
    assert (system.role, user.content) == ("system", "x" * 300)


def test_only_our_own_words_at_the_very_beginning_count_as_the_operators():
    assert operator_characters(assemble_answer(TURNS, Instructions(about="I am Ana."))) == len(PLAIN)
    assert operator_characters(assemble_title("x")) == len(TITLE)
    assert operator_characters((ChatMessage("system", f"Be brief. {PLAIN}"),)) == 0
    assert operator_characters((ChatMessage("user", PLAIN),)) == 0


RUNS = {
    "stopped before the first word": ([("user", "Hi"), ("assistant", ""), ("user", "And?")], [("user", "Hi\n\nAnd?")]),
    "only space": ([("user", "Hi"), ("assistant", " \n"), ("user", "And?")], [("user", "Hi\n\nAnd?")]),
    "asked again after every failure": (
        [("user", "Hi"), ("assistant", ""), ("user", "Hi"), ("assistant", ""), ("user", "Hi")],
        [("user", "Hi")],
    ),
    "in the middle": (
        [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", ""), ("user", "d"), ("assistant", "e")],
        [("user", "a"), ("assistant", "b"), ("user", "c\n\nd"), ("assistant", "e")],
    ),
    "the same later": (
        [("user", "a"), ("assistant", "b"), ("user", "a")],
        [("user", "a"), ("assistant", "b"), ("user", "a")],
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_turns_without_words_are_not_sent_and_roles_take_turns(name):
    given, sent = RUNS[name]
    _, *turns = assemble_answer([Turn(*turn) for turn in given], Instructions())
    assert [(turn.role, turn.content) for turn in turns] == sent
