"""A job's prompt in tokens: as many of the newest turns as fit, and how far it is the operator's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile

from ...engine import LLMEngine
from ...errors import InvalidMessages, PromptTooLong
from ...messages import ChatMessage, Job
from ..text import Family
from ..truncation import BYTES_A_TOKEN, droppable, prompt_room, system_messages, without_oldest
from ..turns import FORMS, Form

LIKELY_BYTES = 6  # of a token: a conversation with more to each that fits has to lose turns


def fit_prompt(engine: LLMEngine, job: Job, opened: Family | None = None) -> tuple[list[int], int]:
    """The prompt's tokens, without as many of the oldest turns as do not fit; and how many those were.

    The system message and the newest turn stay, without ``job.trim`` all of them. A thought that the template has
    ``opened`` is over for an answer that goes on. Raises ``PromptTooLong`` when what stays is too long.
    """
    lead = f"\n{opened.closes}\n\n" if opened and job.resume_text else ""
    messages = list(job.messages)
    room = prompt_room(engine.context_length, job.max_prompt_tokens, job.sampling.max_tokens)
    size = sum(len(message.content.encode()) for message in messages)
    dropped = _surplus(engine, job, room) if size > LIKELY_BYTES * room else 0  # or it is tokenized only to be dropped
    if dropped and not job.trim:
        raise PromptTooLong(f"It has more than the {room:,} tokens that fit.")
    while True:
        prompt = _render(engine, without_oldest(messages, dropped), job.resume_text, lead)
        if len(prompt) <= room or not job.trim or dropped + 2 > droppable(messages):
            break
        # The template's own tokens may make it longer than the sum of its messages.
        dropped = max(dropped + 2, 0 if dropped else _surplus(engine, job, room))
    most = room
    if job.resume_text:  # it goes on to the end of the context
        most = prompt_room(engine.context_length - 1, job.max_prompt_tokens, 0)
    if len(prompt) > most:
        raise PromptTooLong(f"It has {len(prompt):,} tokens; {most:,} fit.")
    return prompt, dropped


def shared_tokens(engine: LLMEngine, job: Job, prompt: Sequence[int]) -> int:
    """How many tokens at the beginning of ``prompt`` are the operator's own, whoever the tenant is.

    Compared with the operator's words rendered by themselves, so that nothing of a tenant's can be among them.
    """
    words = job.messages[0].content[: job.operator_characters]
    shared = engine.shared_prefix(words) if words else []
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt, shared, strict=False)))


def _surplus(engine: LLMEngine, job: Job, room: int) -> int:
    """How many of the oldest turns, an even number, to leave out for the rest to fit. Counts each once.

    Stops as soon as the room is full: a very long conversation is not tokenised only to be dropped.
    """
    messages, room = job.messages, room - _length(engine, job.resume_text)
    system = system_messages(messages)
    kept, budget = 0, float(room)
    for message in [*messages[:system], *reversed(messages[system:])]:
        size = len(message.content.encode())
        budget -= _length(engine, message.content) if size < BYTES_A_TOKEN * room else math.inf
        if budget < 0:
            break
        kept += 1
    surplus = len(messages) - kept
    return min(surplus + surplus % 2, droppable(messages))


def _length(engine: LLMEngine, text: str) -> int:
    return len(engine.encode_text(text)) if text else 0


def _render(engine: LLMEngine, messages: Sequence[ChatMessage], resume_text: str, lead: str) -> list[int]:
    """In the first form that the model's template takes. Raises ``InvalidMessages`` when it takes none."""
    *forms, last = FORMS

    def render(form: Form) -> list[int]:
        chat = [{"role": message.role, "content": message.content} for message in form(messages)]
        return list(engine.render_chat(chat, resume_text, lead))

    for form in forms:
        with suppress(InvalidMessages):
            return render(form)
    return render(last)
