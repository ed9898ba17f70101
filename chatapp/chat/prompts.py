"""Prompt assembly: turns and preferences in, the messages a model reads out. Pure.

``VERSION`` is stored on every Generation; change it with any change of wording or order, so that
ratings before and after can be told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from inference.messages import ChatMessage

VERSION = "2026-11-3"

ASSISTANT = "You are a helpful assistant in chatapp."
WORKSPACE = "What holds in this workspace: {}"
ABOUT = "About the person you are talking to: {}"
STYLE = "How they would like you to answer: {}"
TITLE = "Write a short title for this conversation. Answer with the title only."
TITLE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation. ``role`` is ``user`` or ``assistant``."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Instructions:
    """What every answer is to know: of the workspace, and of the person. Empty where nothing was said."""

    about: str = ""
    style: str = ""
    workspace: str = ""


def assemble_answer(turns: Sequence[Turn], instructions: Instructions) -> tuple[ChatMessage, ...]:
    """System message with the person's instructions, then the turns, oldest first, user and assistant in turn.

    A turn without words, as of an answer stopped before its first, is none: strict models refuse it ever after.
    """
    system = ChatMessage("system", _system(instructions))
    said = [turn for turn in turns if turn.text.strip()]
    runs = groupby(said, key=lambda turn: turn.role)
    return (system, *(ChatMessage(role, _join(run)) for role, run in runs))  # type: ignore[arg-type]


def assemble_title(first_message: str) -> tuple[ChatMessage, ...]:
    """Asks for a conversation's title, given its first message."""
    return (ChatMessage("system", TITLE), ChatMessage("user", first_message[:TITLE_CHARACTERS]))


def operator_characters(messages: Sequence[ChatMessage]) -> int:
    """How far the first message is the same for every tenant; 0 for one that does not begin with our words."""
    first = messages[0]
    own = next((text for text in (ASSISTANT, TITLE) if first.content.startswith(text)), "")
    return len(own) if first.role == "system" else 0


def _join(run: Iterable[Turn]) -> str:
    """What was said in a row; once what was only said again, for want of an answer."""
    return "\n\n".join(text for text, _ in groupby(turn.text for turn in run))


def _system(instructions: Instructions) -> str:
    parts = [ASSISTANT]
    if workspace := instructions.workspace.strip():
        parts.append(WORKSPACE.format(workspace))
    if about := instructions.about.strip():
        parts.append(ABOUT.format(about))
    if style := instructions.style.strip():
        parts.append(STYLE.format(style))
    return "\n\n".join(parts)
