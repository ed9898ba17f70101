"""What a caller may ask for: the body of a chat completion, checked into a dataclass or refused by field. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from inference.messages import ChatMessage, Sampling

from .body import Body, Said
from .errors import InvalidCall
from .refusals import refuse
from .sampling import read_sampling

_decoder = msgspec.json.Decoder(Body)


@dataclass(frozen=True, slots=True)
class ChatCall:
    model: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    answers: int = 1
    stream: bool = False
    include_usage: bool = False
    cache_key: str = ""


def parse_call(raw: bytes, *, most_tokens: int, most_answers: int) -> ChatCall:
    """Raises ``InvalidCall`` naming the field.

    ``most_tokens`` is the longest answer that the plan allows, ``most_answers`` how many may be written at once.
    """
    body = _decode(raw)
    return ChatCall(
        model=body.model,
        messages=tuple([_message(said, index) for index, said in enumerate(body.messages)]),
        sampling=read_sampling(body, most_tokens),
        answers=_answers(body, most_answers),
        stream=bool(body.stream),
        include_usage=_include_usage(body),
        cache_key=body.prompt_cache_key or "",
    )


def _decode(raw: bytes) -> Body:
    try:
        body: Body = _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise refuse(raw, error) from None
    return body


def _answers(body: Body, most: int) -> int:
    wanted = body.n or 1
    if wanted > most:
        raise InvalidCall(f"'n' can be {most} at most in your plan, which writes no more answers at once.", "n")
    return wanted


def _include_usage(body: Body) -> bool:
    if body.stream_options and not body.stream:
        raise InvalidCall("'stream_options' needs 'stream' to be true.", "stream_options")
    return bool(body.stream_options and body.stream_options.include_usage)


def _message(said: Said, index: int) -> ChatMessage:
    """Only an assistant may have said nothing, as in a reply that was a refusal or a tool call."""
    content = said.content
    if content is None and said.role != "assistant":
        where = f"messages[{index}].content"
        raise InvalidCall(f"'{where}' has to be a text or a list of text parts.", where)
    text = content if isinstance(content, str) else "\n".join([part.text for part in content or ()])
    return ChatMessage("system" if said.role == "developer" else said.role, text)
