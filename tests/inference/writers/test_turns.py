"""Conversations in the forms that strict templates take: no word is lost, and no turn is empty."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.engine.chat import ChatRenderer
from inference.messages import ChatMessage
from inference.writers.truncation import without_oldest
from inference.writers.turns import as_sent, in_turns, without_system
from tests.inference.engine.test_chat_templates import make_tokenizer

ROLES = st.sampled_from(["system", "user", "assistant"])
CHATS = st.lists(st.builds(ChatMessage, ROLES, st.sampled_from(["", " ", "a", "b c", "\n"])), max_size=8).map(
    lambda chat: [*chat, ChatMessage("user", "and?")]
)


def begins_with_a_person(chat: list[ChatMessage]) -> bool:
    spoken = [message for message in chat if message.content.strip()]
    return next(message.role for message in spoken if message.role != "system") == "user"


@pytest.mark.parametrize(("template", "form"), [("Gemma", without_system), ("Mistral", in_turns)])
@given(chat=CHATS.filter(begins_with_a_person))
def test_a_strict_template_takes_every_conversation_that_a_person_begins(template, form, chat):
    renderer = ChatRenderer(make_tokenizer("byte level", template))
    ids = renderer.render([{"role": turn.role, "content": turn.content} for turn in form(chat)])
    text = renderer._tokenizer.decode(ids)
    for message in chat:
        assert message.content.strip() in text


@given(chat=CHATS)
def test_turns_have_words_and_alternate(chat):
    for form in (in_turns, without_system):
        turns = form(chat)
        assert all(turn.content.strip() for turn in turns)
        assert all(one.role != two.role for one, two in itertools.pairwise(turns))
    assert as_sent(chat) == chat


def test_a_conversation_without_any_word_stays_one():
    assert in_turns([ChatMessage("user", " "), ChatMessage("user", "")]) == [ChatMessage("user", " \n\n")]


def test_what_is_left_of_a_long_conversation_begins_with_a_question():
    chat = [
        ChatMessage(role, str(n)) for n, role in enumerate(["system", "user", "user", "assistant", "assistant", "user"])
    ]
    assert [turn.content for turn in without_oldest(chat, 2)] == ["0", "5"]
    assert without_oldest(chat, 0) == chat
    assert without_oldest(chat[3:5], 0) == chat[3:5]
