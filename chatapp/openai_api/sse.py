"""An answer as the bodies of OpenAI's replies: one object, or chunks as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import orjson

from chatapp.common.errors import ChatappError
from inference.messages import Event, Started, Text

from .answers import Answer
from .errors import error_json, failure
from .schemas import ChatCall

KEEP_ALIVE = b": waiting\n\n"
DONE = b"data: [DONE]\n\n"


class Reply:
    """Words an answer in OpenAI's terms. Reasons are ``stop`` and ``length``, as in the log."""

    def __init__(self, answer: Answer, call: ChatCall) -> None:
        self._answer, self._call = answer, call

    def head(self, kind: str) -> dict[str, Any]:
        """What every body begins with. The answer has been started."""
        generation, started = UUID(self._answer.job.id), self._answer.started
        return {
            "id": f"chatcmpl-{generation.hex}",
            "object": kind,
            "created": int(self._answer.job.submitted_at),
            "model": started.model if started else self._answer.job.model,
            "system_fingerprint": started.model_revision or None if started else None,
        }

    def usage(self) -> dict[str, Any]:
        """As the ledger has it."""
        started, ended = self._answer.started, self._answer.ended
        assert ended is not None
        prompt = ended.prompt_tokens or (started.prompt_tokens if started else 0)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": ended.output_tokens,
            "total_tokens": prompt + ended.output_tokens,
            "prompt_tokens_details": {"cached_tokens": ended.cached_tokens},
        }

    def whole(self, text: str) -> dict[str, Any]:
        assert self._answer.ended is not None
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._answer.ended.reason}
        return {**self.head("chat.completion"), "choices": [choice], "usage": self.usage()}


class Chunks:
    """The chunks of one stream. Everything but the text is the same in each, and is encoded once."""

    def __init__(self, reply: Reply, call: ChatCall) -> None:
        self._reply, self._usage = reply, {"usage": None} if call.include_usage else {}
        self._before, self._after = self._chunk({"content": ""}).split(b'"content":""')
        self._before += b'"content":'

    def role(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        return self._before + orjson.dumps(text) + self._after

    def end(self, reason: str) -> bytes:
        return self._chunk({}, reason)

    def usage(self) -> bytes:
        return event({**self._reply.head("chat.completion.chunk"), "choices": [], "usage": self._reply.usage()})

    def _chunk(self, delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return event({**self._reply.head("chat.completion.chunk"), "choices": [choice], **self._usage})


async def stream(
    answer: Answer, call: ChatCall, first: Sequence[Event], rest: AsyncIterator[Sequence[Event]]
) -> AsyncIterator[bytes]:
    """The events of a streamed reply, given the first batch. What goes wrong on the way is the last event."""
    try:
        async for piece in _pieces(answer, call, first, rest):
            yield piece
    except ChatappError as error:
        yield event(error_json(error))
    finally:
        answer.leave()


async def _pieces(
    answer: Answer, call: ChatCall, first: Sequence[Event], rest: AsyncIterator[Sequence[Event]]
) -> AsyncIterator[bytes]:
    chunks = None
    async for batch in _chain(first, rest):
        if chunks is None and any(isinstance(item, Started) for item in batch):
            chunks = Chunks(Reply(answer, call), call)
            yield chunks.role()
        text = "".join([item.text for item in batch if isinstance(item, Text)])
        if text and chunks:
            yield chunks.text(text)
        elif not batch:
            yield KEEP_ALIVE
    async for piece in _last_pieces(answer, call, chunks):
        yield piece


async def _last_pieces(answer: Answer, call: ChatCall, chunks: Chunks | None) -> AsyncIterator[bytes]:
    """The end, once it is in the ledger."""
    assert answer.ended is not None
    await answer.settle()
    if error := failure(answer.ended):
        raise error
    assert chunks is not None
    yield chunks.end(answer.ended.reason)
    if call.include_usage:
        yield chunks.usage()
    yield DONE


async def _chain(first: Sequence[Event], rest: AsyncIterator[Sequence[Event]]) -> AsyncIterator[Sequence[Event]]:
    yield first
    async for batch in rest:
        yield batch


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
