"""One reader's view of an answer: from the token log while it is written, from the database after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from django.db import InterfaceError, OperationalError

from accounts.models import Membership
from chatapp.common.errors import NotFound
from chatapp.common.transport import get_transport
from chatapp.generation.line import line_watch
from chatapp.generation.models import Generation
from chatapp.generation.services import finish_generation, mark_started
from inference.errors import LogExpired, TransportUnavailable, UnknownGeneration
from inference.messages import Ended, Event, Started, Text

from .models import Message
from .permissions import get_answer

Frame = dict[str, Any]
POSITION_SECONDS = 0.5  # how often a waiting person's place in the last look at the line is read
RETRY_SECONDS = 1.0  # until the sweep has found a lost generation again, or the transport is back


class AnswerStream:
    """Sends one reader the frames of one generation: ``state``, ``tokens``, ``resync`` and ``end``.

    ``send`` is awaited for every frame; while a slow reader holds it, events gather in the shared log
    and come as one larger frame. An ``end`` is sent once the answer is in the database.
    """

    def __init__(
        self,
        membership: Membership,
        message_id: UUID,
        generation_id: UUID,
        after_seq: int,
        send: Callable[[Frame], Awaitable[None]],
    ) -> None:
        self._membership, self._message_id, self._generation_id = membership, message_id, generation_id
        self._seq, self._send = after_seq, send
        self._names = {"message": str(message_id), "generation": str(generation_id)}

    async def run(self) -> None:
        """Until the end has been sent. Raises ``NotFound`` when the reader may not see the answer."""
        while True:
            try:
                message, generation = await database_sync_to_async(self._load)()
                if generation.finished_at is not None:
                    return await self._resync(message)
                return await self._follow()
            except (UnknownGeneration, LogExpired, TransportUnavailable, OperationalError, InterfaceError):
                await asyncio.sleep(RETRY_SECONDS)  # the transport, or the database, will be back

    def _load(self) -> tuple[Message, Generation]:
        message = get_answer(self._membership, self._message_id)
        generation = Generation.objects.filter(pk=self._generation_id, message=message).first()
        if generation is None:
            raise NotFound
        return message, generation

    async def _follow(self) -> None:
        waiting = asyncio.create_task(self._tell_position())
        try:
            async for events in get_transport().follow(str(self._generation_id), self._seq):
                waiting.cancel()
                await self._deliver(events)
        finally:
            waiting.cancel()

    async def _tell_position(self) -> None:
        """Place in line and expected wait whenever they have changed, until the first event comes."""
        told = None
        while True:
            place = await line_watch.place(str(self._generation_id))
            if place is not None and place != told:
                told = place
                await self._send({"type": "state", **self._names, "state": "queued", "position": place.as_json()})
            await asyncio.sleep(POSITION_SECONDS)

    async def _deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Started):
                await self._tell_started(event)
        if text := "".join(event.text for event in events if isinstance(event, Text)):
            await self._tell_text(text, [event.seq for event in events if isinstance(event, Text)][-1])
        if isinstance(events[-1], Ended):
            if events[-1].seq > self._seq + 1:  # events without text, so that the end leaves no gap
                await self._tell_text("", events[-1].seq - 1)
            await self._tell_end(events[-1])

    async def _tell_started(self, event: Started) -> None:
        await database_sync_to_async(mark_started)(generation_id=self._generation_id, started=event)
        await self._send({"type": "state", **self._names, "state": "streaming", "position": None, "model": event.model})

    async def _tell_text(self, text: str, last: int) -> None:
        """A frame covers every event since the one before, so that a reader can check for gaps."""
        first, self._seq = self._seq + 1, last
        await self._send({"type": "tokens", **self._names, "first": first, "last": last, "text": text})

    async def _tell_end(self, event: Ended) -> None:
        message = await database_sync_to_async(self._finish)()
        await self._send(
            {
                "type": "end",
                **self._names,
                "seq": event.seq,
                "finish_reason": event.reason,
                "output_tokens": event.output_tokens,
                "length": len(message.text),
                **self._fate(message),
            }
        )

    def _finish(self) -> Message:
        finish_generation(generation_id=self._generation_id)
        return self._load()[0]

    async def _resync(self, message: Message) -> None:
        await self._send(
            {"type": "resync", **self._names, "seq": self._seq, "text": message.text, **self._fate(message)}
        )

    def _fate(self, message: Message) -> Frame:
        error = {"code": message.error_code, "message": message.error_message} if message.error_code else None
        return {"state": message.state, "can_continue": message.can_continue, "error": error}
