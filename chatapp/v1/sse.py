"""The answers to a call as the bodies of OpenAI's replies: one object, or chunks as server-sent events."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import orjson

from chatapp.common.errors import ChatappError
from inference.messages import Chance, Choice, Event, Started, Text

from .answers import Answers, Batch
from .errors import error_json, failure
from .schemas import ChatCall

KEEP_ALIVE = b": waiting\n\n"
DONE = b"data: [DONE]\n\n"
LINE_ENDS = re.compile("\x85|\u2028|\u2029".encode())  # JSON leaves these three as they are


class Reply:
    """Words the answers in OpenAI's terms. Reasons are ``stop`` and ``length``, as in the log."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def head(self, kind: str) -> dict[str, Any]:
        """What every body begins with. The id is that of the first answer's generation."""
        job, started = self._answers.all[0].job, self._answers.started
        return {
            "id": f"chatcmpl-{UUID(job.id).hex}",
            "object": kind,
            "created": int(job.submitted_at),
            "model": started.model if started else job.model,
            "system_fingerprint": started.model_revision or None if started else None,
        }

    def usage(self) -> dict[str, Any]:
        """As the ledger has it: the prompt, which the first answer pays for, and all answers."""
        counts = [answer.counts for answer in self._answers.all]
        prompt, _, cached = counts[0]
        output = sum(tokens for _, tokens, _ in counts)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def whole(self, logs: Sequence[Sequence[Text]]) -> dict[str, Any]:
        """``logs``: each answer's text events."""
        choices = [self._choice(index, log) for index, log in enumerate(logs)]
        return {**self.head("chat.completion"), "choices": choices, "usage": self.usage()}

    def _choice(self, index: int, log: Sequence[Text]) -> dict[str, Any]:
        ended = self._answers.all[index].ended
        assert ended is not None
        message = {"role": "assistant", "content": "".join(event.text for event in log), "refusal": None}
        if thought := "".join(event.thought for event in log):
            message["reasoning_content"] = thought
        logprobs = logprobs_json([choice for event in log for choice in event.choices])
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": ended.reason}


class Chunks:
    """The chunks of one answer. Everything but the text is the same in most, and is encoded once."""

    def __init__(self, reply: Reply, call: ChatCall, index: int) -> None:
        self._reply, self._index, self._usage = reply, index, {"usage": None} if call.include_usage else {}
        self._before, self._after = self._chunk({"content": ""}).split(b'"content":""')
        self._before += b'"content":'

    def role(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, text: str, choices: Sequence[Choice]) -> bytes:
        if choices:
            return self._chunk({"content": text}, logprobs=logprobs_json(choices))
        return self._before + _one_line(text) + self._after

    def thought(self, thought: str, choices: Sequence[Choice]) -> bytes:
        return self._chunk({"reasoning_content": thought}, logprobs=logprobs_json(choices))

    def end(self, reason: str) -> bytes:
        return self._chunk({}, reason)

    def _chunk(self, delta: dict[str, str], reason: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": self._index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return event({**self._reply.head("chat.completion.chunk"), "choices": [choice], **self._usage})


async def stream(answers: Answers, call: ChatCall, first: Batch, rest: AsyncIterator[Batch]) -> AsyncIterator[bytes]:
    """The events of a streamed reply, given the first batch. What goes wrong on the way is the last event."""
    try:
        async for piece in _pieces(answers, call, first, rest):
            yield piece
    except ChatappError as error:
        yield event(error_json(error))
    finally:
        answers.leave()


async def _pieces(answers: Answers, call: ChatCall, first: Batch, rest: AsyncIterator[Batch]) -> AsyncIterator[bytes]:
    chunks: dict[int, Chunks] = {}
    reply = Reply(answers)
    async for index, batch in _chain(first, rest):
        if index not in chunks and any(isinstance(item, Started) for item in batch):
            chunks[index] = Chunks(reply, call, index)
            yield chunks[index].role()
        if piece := _piece(chunks.get(index), batch):
            yield piece
        if reason := await _end(answers, index):
            yield chunks[index].end(reason)
    if call.include_usage:
        yield event({**reply.head("chat.completion.chunk"), "choices": [], "usage": reply.usage()})
    yield DONE


def _piece(chunks: Chunks | None, batch: Sequence[Event]) -> bytes:
    """The batch's text, or a comment in a silence."""
    if not batch:
        return KEEP_ALIVE
    events = [item for item in batch if isinstance(item, Text)]
    if chunks is None:
        return b""
    text, choices = "".join([item.text for item in events]), [choice for item in events for choice in item.choices]
    thought = "".join([item.thought for item in events])
    if not thought:
        return chunks.text(text, choices) if text or choices else b""
    thinking = chunks.thought(thought, () if text else choices)
    return thinking + chunks.text(text, choices) if text else thinking


async def _end(answers: Answers, index: int) -> str:
    """Why this answer ended, once that is in the ledger; empty while it has not. Raises what kept it from its end."""
    answer = answers.all[index]
    if answer.ended is None:
        return ""
    await answer.settle()
    if error := failure(answer.ended):
        raise error
    return answer.ended.reason


async def _chain(first: Batch, rest: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
    yield first
    async for batch in rest:
        yield batch


def logprobs_json(choices: Sequence[Choice]) -> dict[str, Any] | None:
    """None for none: they were not asked for, or not told."""
    if not choices:
        return None
    content = [
        _chance_json(choice.drawn) | {"top_logprobs": list(map(_chance_json, choice.best))} for choice in choices
    ]
    return {"content": content, "refusal": None}


def _chance_json(chance: Chance) -> dict[str, Any]:
    return {"token": chance.token, "logprob": chance.logprob, "bytes": chance.bytes}


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + _one_line(data) + b"\n\n"


def _one_line(data: Any) -> bytes:
    """JSON without what some clients take for the end of a line, such as Python's ``splitlines``."""
    text = orjson.dumps(data)
    return text if text.isascii() else LINE_ENDS.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), text)
