"""Which turns of a conversation a model reads: as many of the newest as fit its context."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from .errors import PromptTooLong
from .messages import ChatMessage, Job

if TYPE_CHECKING:  # workers without torch fit prompts too
    from .engine import LLMEngine

ANSWER_SHARE = 4  # of a full context, at least one part in this many is kept free for the answer
BYTES_A_TOKEN = 64  # no tokenizer's average token is longer


def fit_prompt(engine: LLMEngine, job: Job) -> tuple[list[int], int]:
    """The prompt's tokens, without as many of the oldest turns as do not fit; and how many those were.

    The system message and the newest turn stay, without ``job.trim`` all of them. Raises ``PromptTooLong`` when
    what stays is too long.
    """
    messages = list(job.messages)
    room = prompt_room(engine.context_length, job.max_prompt_tokens, job.sampling.max_tokens)
    dropped = _surplus(engine, messages, room - _length(engine, job.resume_text))
    if dropped and not job.trim:
        raise PromptTooLong(f"It has more than the {room:,} tokens that fit.")
    while True:
        prompt = _render(engine, without_oldest(messages, dropped), job.resume_text)
        if len(prompt) <= room or not job.trim or dropped + 2 > droppable(messages):
            break
        dropped += 2  # the template's own tokens made it longer than the sum of its messages
    if len(prompt) > room:
        raise PromptTooLong(f"It has {len(prompt):,} tokens; {room:,} fit.")
    return prompt, dropped


def shared_tokens(engine: LLMEngine, job: Job, prompt: Sequence[int]) -> int:
    """How many tokens at the beginning of ``prompt`` are the operator's own, whoever the tenant is.

    Compared with the operator's words rendered by themselves, so that nothing of a tenant's can be among them.
    """
    words = job.messages[0].content[: job.operator_characters]
    shared = engine.shared_prefix(words) if words else []
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt, shared, strict=False)))


def prompt_room(context: int, plan_limit: int, max_tokens: int) -> int:
    """Most prompt tokens, so that an answer still has space behind them."""
    room = context - min(max_tokens, context // ANSWER_SHARE)
    return min(room, plan_limit) if plan_limit else room


def _surplus(engine: LLMEngine, messages: Sequence[ChatMessage], room: int) -> int:
    """How many of the oldest turns, an even number, to leave out for the rest to fit. Counts each once.

    Stops as soon as the room is full: a very long conversation is not tokenised only to be dropped.
    """
    system = _system(messages)
    kept, budget = 0, float(room)
    for message in [*messages[:system], *reversed(messages[system:])]:
        size = len(message.content.encode())
        budget -= _length(engine, message.content) if size < BYTES_A_TOKEN * room else math.inf
        if budget < 0:
            break
        kept += 1
    surplus = len(messages) - kept
    return min(surplus + surplus % 2, droppable(messages))


def droppable(messages: Sequence[ChatMessage]) -> int:
    """How many messages may be left out: all but the system's and the newest, in pairs of question and answer."""
    rest = len(messages) - _system(messages) - 1
    return rest - rest % 2


def without_oldest(messages: Sequence[ChatMessage], dropped: int) -> list[ChatMessage]:
    first = _system(messages)
    return [*messages[:first], *messages[first + dropped :]]


def _system(messages: Sequence[ChatMessage]) -> int:
    return 1 if messages[0].role == "system" else 0


def _length(engine: LLMEngine, text: str) -> int:
    return len(engine.tokenizer.encode(text, add_special_tokens=False)) if text else 0


def _render(engine: LLMEngine, messages: Sequence[ChatMessage], resume_text: str) -> list[int]:
    chat = [{"role": message.role, "content": message.content} for message in messages]
    return list(engine.render_chat(chat, resume_text))
