"""A conversation in the forms that chat templates take: strict ones want one system message, then user and assistant in
turn. A form is used when the template, or the server that has it, has refused the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, takewhile

from ..messages import ChatMessage, Role

BETWEEN = "\n\n"  # words of one role that follow each other

STRICT = ("role", "alternat", "template", "system message")  # in what strict templates say of the turns they refuse

Form = Callable[[Sequence[ChatMessage]], list[ChatMessage]]


def as_sent(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    return list(messages)


def in_turns(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """One turn of a role at a time, none without words. What the system says later is part of the user's turn there."""
    first = list(takewhile(lambda message: message.role == "system", messages))
    return _merge([*first, *map(_as_user, messages[len(first) :])])


def without_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """As ``in_turns``, the system's first words at the beginning of the user's."""
    return _merge(list(map(_as_user, messages)))


FORMS: tuple[Form, ...] = (as_sent, in_turns, without_system)


def is_about_turns(refusal: str) -> bool:
    """Whether a server's words are a strict template's, which may take another form."""
    return any(mark in refusal.lower() for mark in STRICT)


def _as_user(message: ChatMessage) -> ChatMessage:
    return ChatMessage("user", message.content) if message.role == "system" else message


def _merge(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    messages = [message for message in messages if message.content.strip()] or messages
    turns: list[tuple[Role, list[ChatMessage]]] = [
        (role, list(run)) for role, run in groupby(messages, key=lambda message: message.role)
    ]
    return [ChatMessage(role, BETWEEN.join(message.content for message in run)) for role, run in turns]
