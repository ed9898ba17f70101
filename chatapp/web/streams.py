"""One reader's view of an answer: from the token log while it is written, from the database after."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError

from accounts.models import Membership
from accounts.quotas import usage_after
from chatapp.chat.answering import finish_generation, mark_started
from chatapp.chat.keeping import keep_text, lengthen_answer
from chatapp.chat.models import Generation, Message
from chatapp.chat.outcomes import Fold
from chatapp.chat.permissions import get_answer
from chatapp.common.errors import NotFound
from chatapp.common.threads import in_thread
from chatapp.queue.log_follower import LogFollower
from chatapp.queue.positions import line_watch
from inference.errors import TransportUnavailable, UnknownGeneration
from inference.messages import Ended, Event, Started, Text

from .payloads import runs_of

Frame = dict[str, Any]
RETRY_SECONDS = 1.0
MARK_SECONDS = 0.5  # until the database hears of an answer that has begun: who starts a crowd has no time for it
POSITION_SECONDS = 0.5  # how often a waiting person's place in the last look at the line is read


class AnswerStream:
    """Sends one reader the frames of one generation: ``state``, ``tokens``, ``resync`` and ``end``, then ``usage``.

    ``send`` is awaited for every frame; while a slow reader holds it, events gather in the shared log
    and come as one larger frame. An ``end`` is sent once the answer is in the database. Of a generation that is
    known to be ``unfinished``, and the reader's, the database is asked only when its log is not there.
    """

    def __init__(
        self,
        membership: Membership,
        message_id: UUID,
        generation_id: UUID,
        after_seq: int,
        send: Callable[[Frame], Awaitable[None]],
        *,
        unfinished: bool = False,
    ) -> None:
        self._membership, self._message_id, self._generation_id = membership, message_id, generation_id
        self._seq, self._send, self._unfinished = after_seq, send, unfinished
        self._marking: asyncio.Task[None] | None = None
        self._fold = Fold()
        self._was_let_in = unfinished
        self._kept_seq = 0
        self.names = {"message": str(message_id), "generation": str(generation_id)}

    async def run(self) -> None:
        """Until the end has been sent. Raises ``NotFound`` when the reader may not see the answer."""
        while True:
            try:
                return await self._read()
            except (OperationalError, InterfaceError, TransportUnavailable, UnknownGeneration):
                await asyncio.sleep(RETRY_SECONDS)  # what has ended could not be looked at or written; it will be
                self._unfinished = False
                self._fold.doubt()

    async def _read(self) -> None:
        if not self._unfinished and await self._tell_if_finished():
            return
        waiting, log = asyncio.create_task(self._tell_position()), LogFollower(self.names["generation"], self._seq)
        try:
            async for events in log.batches():
                if events:
                    waiting.cancel()
                    await self._deliver(events)
                else:
                    self._fold.doubt()
                    if isinstance(log.trouble, UnknownGeneration):
                        await self._keep_text()
                    if log.trouble and await self._tell_if_finished():
                        return
        finally:
            waiting.cancel()
        if log.ended is None:  # the reader had come to the end of the log before the database did
            await self._resync(*await in_thread(self._finish)())

    async def _keep_text(self) -> None:
        """The log is gone: what this reader was shown of it is worth keeping, should nobody know more."""
        if self._fold.is_gapless and self._kept_seq != (outcome := self._fold.outcome).last_seq:
            await in_thread(keep_text)(generation_id=self._generation_id, outcome=outcome)
            self._kept_seq = outcome.last_seq

    async def _tell_if_finished(self) -> bool:
        """Send the whole answer, once the database has it."""
        message, generation, usage = await in_thread(self._load)()
        if generation.finished_at is not None:
            await self._resync(message, usage)
        return generation.finished_at is not None

    def _load(self) -> tuple[Message, Generation, Frame]:
        """The generation first: one that has finished by then has its message written."""
        generation = Generation.objects.filter(pk=self._generation_id, message=self._message_id).first()
        if generation and generation.finish_reason == "interrupted" and self._fold.is_gapless:
            lengthen_answer(generation_id=self._generation_id, outcome=self._fold.outcome)
        message = self._read_message()
        if generation is None:
            raise NotFound
        return message, generation, self._usage()

    def _read_message(self) -> Message:
        """Whoever reads it already reads it to its end, though its conversation has been deleted meanwhile."""
        if not self._was_let_in:
            message = get_answer(self._membership, self._message_id)
            self._was_let_in = True
            return message
        found: Message | None = Message.objects.filter(pk=self._message_id).first()
        if found is None:
            raise NotFound
        return found

    async def _tell_position(self) -> None:
        """Place in line and expected wait whenever they have changed, until the first event comes."""
        told = None
        while True:
            place = await line_watch.place(str(self._generation_id))
            if place is not None and place != told:
                told = place
                await self._send({"type": "state", **self.names, "state": "queued", "position": place.as_json()})
            await asyncio.sleep(POSITION_SECONDS)

    async def _deliver(self, events: Sequence[Event]) -> None:
        self._fold.add(events)
        text, thought, last = "", "", 0
        for event in events:
            if isinstance(event, Text):
                text, thought, last = text + event.text, thought + event.thought, event.seq
            elif isinstance(event, Started):
                await self._tell_started(event, ended=isinstance(events[-1], Ended))
        if text or thought:
            await self._tell_text(text, last, thought)
        if isinstance(events[-1], Ended):
            if events[-1].seq > self._seq + 1:  # events without text, so that the end leaves no gap
                await self._tell_text("", events[-1].seq - 1)
            await self._tell_end(events[-1])

    async def _tell_started(self, event: Started, *, ended: bool) -> None:
        """The reader's tokens do not wait for the database, and what ends soon is written once."""
        if not ended:
            self._marking = asyncio.create_task(self._mark_started(event))
        how = {"model": event.model, "sampling": event.sampling, "dropped_messages": event.dropped_messages}
        await self._send({"type": "state", **self.names, "state": "streaming", "position": None, **how})

    async def _mark_started(self, event: Started) -> None:
        await asyncio.sleep(MARK_SECONDS)
        with contextlib.suppress(OperationalError, InterfaceError):  # what ends it writes all that this would have
            await in_thread(mark_started)(generation_id=self._generation_id, started=event)

    async def _tell_text(self, text: str, last: int, thought: str = "") -> None:
        """A frame covers every event since the one before, so that a reader can check for gaps."""
        first, self._seq = self._seq + 1, last
        thoughts = {"thought": thought} if thought else {}
        await self._send({"type": "tokens", **self.names, "first": first, "last": last, "text": text, **thoughts})

    async def _tell_end(self, event: Ended) -> None:
        if self._marking:
            self._marking.cancel()
        message, usage = await in_thread(self._finish)()
        await self._send(
            {
                "type": "end",
                **self.names,
                "seq": event.seq,
                "finish_reason": event.reason,
                "output_tokens": event.output_tokens,
                "length": len(message.text),
                **self._fate(message),
            }
        )
        await self._send(usage)

    def _finish(self) -> tuple[Message, Frame]:
        outcome = self._fold.outcome if self._fold.is_whole else None  # a reader who came late knows the end only
        generation = finish_generation(generation_id=self._generation_id, outcome=outcome)
        message = generation.written if generation else self._read_message()
        return message, self._usage(generation)

    def _usage(self, settled: Generation | None = None) -> Frame:
        day, counts = (settled.reserved_on, settled.day_counts) if settled else (None, None)
        return {"type": "usage", "usage": usage_after(self._membership.tenant, day, counts).as_json()}

    async def _resync(self, message: Message, usage: Frame) -> None:
        runs = await in_thread(runs_of)(message)
        await self._send(
            {
                "type": "resync",
                **self.names,
                "seq": self._seq,
                "text": message.text,
                "thought": message.thought,
                "model": message.model,
                "sampling": runs.sampling,
                "output_tokens": runs.output_tokens,
                "dropped_messages": runs.dropped_messages,
                **self._fate(message),
            }
        )
        await self._send(usage)

    def _fate(self, message: Message) -> Frame:
        error = {"code": message.error_code, "message": message.error_message} if message.error_code else None
        return {"state": message.state, "can_continue": message.can_continue, "error": error}
