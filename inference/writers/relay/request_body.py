"""What a server is asked: the body of one chat completion.

How a server is made to go on with a text instead of beginning a new answer (``Continuation``):

flag     the text as a last assistant message, with ``continue_final_message`` and without a generation
         prompt: vLLM, SGLang, TGI, llama.cpp since May 2026
prefill  the text as a last assistant message and nothing else: Ollama, llama.cpp before
none     not at all: the text, then a request to go on, which only a person's *Continue* may mean
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson

from ...errors import PromptTooLong
from ...messages import ANY_OBJECT, ChatMessage, Job, Sampling
from ..base import seed_of
from ..truncation import ANSWER_SHARE, droppable, prompt_room, without_oldest
from ..turns import Form

Continuation = Literal["flag", "prefill", "none"]

BY_OWNER: dict[str, Continuation] = {"vllm": "flag", "sglang": "flag", "llamacpp": "flag"}  # of GET /v1/models
GO_ON = "Go on exactly where your answer stopped. Repeat nothing of it."
BYTES_A_TOKEN = 3  # about; a server that counts more says so, and is asked again with less
MARKERS = 8  # tokens around a message
LEAST_TOKENS = 64  # an answer is cut no shorter to make room for its prompt
UNLIMITED = 2**40
SEEDS = 2**31  # what every server takes
# Settings that a server takes without a word and does not follow, by the same owner; others are sent, and refused.
DEAF: dict[str, tuple[str, ...]] = {
    "llamacpp": ("stop_token_ids", "min_tokens"),
    "library": ("top_k", "min_p", "repetition_penalty", "logit_bias", "stop_token_ids", "min_tokens"),  # Ollama
}
NEUTRAL = {"top_k": -1, "repetition_penalty": 1.0}  # they ask for nothing, and neither do zeros
RENAMED = {"llamacpp": {"repetition_penalty": "repeat_penalty"}}
PLAIN = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty")


def fit_turns(job: Job, context: int, so_far: str) -> int:
    """How many of the oldest messages to leave out, by estimate; ``context`` is 0 when unknown."""
    room = prompt_room(context or UNLIMITED, job.max_prompt_tokens, job.sampling.max_tokens)
    sizes = [_estimate(message.content) for message in job.messages]
    first, total, dropped = int(job.messages[0].role == "system"), sum(sizes) + _estimate(so_far), 0
    while job.trim and total > room and dropped < droppable(job.messages):
        total -= sum(sizes[first + dropped : first + dropped + 2])
        dropped += 2
    return dropped


def estimate_prompt(job: Job, dropped: int) -> int:
    """Tokens of what is sent, for those who do not wait to hear them from the server."""
    return sum(_estimate(message.content) for message in without_oldest(job.messages, dropped))


def fit_answer(job: Job, context: int) -> int:
    """``max_tokens``, no more than surely fits behind the prompt, and a good part of the context at least."""
    space = context - job.prompt_tokens  # which the web has estimated high
    return min(job.sampling.max_tokens, max(space, context // ANSWER_SHARE)) if context else job.sampling.max_tokens


def tighten(job: Job, dropped: int, max_tokens: int) -> tuple[int, int]:
    """Fewer turns, or else a shorter answer, after a server said it is too much. Raises ``PromptTooLong``."""
    most = droppable(job.messages)
    if job.trim and dropped < most:
        return min(most, max(2, 2 * dropped)), max_tokens
    if job.trim and max_tokens > LEAST_TOKENS:
        return dropped, max(LEAST_TOKENS, max_tokens // 2)
    raise PromptTooLong("It does not fit the model's context.")


def unheard(owner: str, wanted: Sampling) -> str:
    """The first setting of ``wanted`` that such a server would not follow; empty when it follows them all."""
    asked = (name for name in DEAF.get(owner, ()) if getattr(wanted, name) not in (None, 0, (), NEUTRAL.get(name)))
    return next(asked, "")


def build_body(
    job: Job,
    *,
    model: str,
    owner: str,
    form: Form,
    so_far: str,
    dropped: int,
    written: int,
    most: int,
    continuation: Continuation,
) -> dict[str, Any]:
    """``written`` tokens of ``most`` are there already, as ``so_far``. A server's presence and frequency penalties
    see none of those: no API takes them as the answer's.
    """
    body = {
        "model": model,
        "messages": _messages(form(without_oldest(job.messages, dropped)), so_far, continuation),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": max(1, most - written),
        "seed": choose_seed(job),
    }
    body |= _settings(job.sampling, written, RENAMED.get(owner, {}))
    if so_far and continuation == "flag":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def _settings(wanted: Sampling, written: int, renamed: Mapping[str, str]) -> dict[str, Any]:
    """What is chosen, in OpenAI's names and vLLM's for what OpenAI does not have."""
    chosen = {renamed.get(name, name): getattr(wanted, name) for name in PLAIN} | {
        "stop": list(wanted.stop) or None,
        "stop_token_ids": list(wanted.stop_token_ids) or None,
        "min_tokens": max(0, wanted.min_tokens - written) or None,
        "logit_bias": {str(token_id): bias for token_id, bias in wanted.logit_bias} or None,
        "logprobs": None if wanted.logprobs is None else True,
        "top_logprobs": wanted.logprobs or None,
        "response_format": _response_format(wanted.json_schema),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _response_format(schema: str) -> dict[str, Any] | None:
    if schema == ANY_OBJECT:
        return {"type": "json_object"}
    named = {"name": "answer", "strict": True, "schema": orjson.loads(schema)} if schema else None
    return {"type": "json_schema", "json_schema": named} if named else None


def choose_seed(job: Job) -> int:
    return (seed_of(job.id) if job.sampling.seed is None else job.sampling.seed) % SEEDS


def _messages(messages: Sequence[ChatMessage], so_far: str, continuation: Continuation) -> list[dict[str, str]]:
    chat = [{"role": str(message.role), "content": message.content} for message in messages]
    if so_far:
        chat.append({"role": "assistant", "content": so_far})
        if continuation == "none":
            chat.append({"role": "user", "content": GO_ON})
    return chat


def _estimate(text: str) -> int:
    return len(text.encode()) // BYTES_A_TOKEN + MARKERS
