"""A call's answers while they are written: followed through silence and outages, stopped when their caller leaves or
its key is no longer good.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import structlog
from channels.db import database_sync_to_async

from chatapp.chat.api_calls import settle_call
from chatapp.common.errors import ChatappError, Unavailable
from chatapp.queue.log_follower import LogFollower
from chatapp.queue.transport import get_transport
from inference.errors import InferenceError, TransportUnavailable, UnknownGeneration
from inference.messages import Ended, Event, Job, Started

from .keys import Caller, key_watch

logger = structlog.get_logger(__name__)

# In a thread of the process's pool: each request's own thread would cost a thread and a connection a request.
in_thread = partial(database_sync_to_async, thread_sensitive=False)

FIRST_SILENCE_SECONDS = 1.0  # as long as a refusal by the worker can still have a status of its own
SILENCE_SECONDS = 10.0  # until a comment keeps the connection alive
RETRY_SECONDS = 1.0
FORGOTTEN_SECONDS = 3.0  # a transport that lost its memory has been told again by its workers by then
PATIENCE_SECONDS = 90.0  # with a transport that cannot be reached, or does not know the answer

Batch = tuple[int, Sequence[Event]]  # an answer's number and what is new of it

_leaving: set[asyncio.Task[None]] = set()  # the loop itself keeps no strong reference to a task


class Answer:
    """Reads the log of ``job``. Whoever makes one calls ``leave`` in the end, whatever happens."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._log = LogFollower(job.id, silence=FIRST_SILENCE_SECONDS)
        self._left = self._settled = False
        self._refusal: ChatappError | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def started(self) -> Started | None:
        return self._log.started

    @property
    def ended(self) -> Ended | None:
        return self._log.ended

    @property
    def counts(self) -> tuple[int, int, int]:
        """Tokens of its prompt, of itself, and of the prompt those that the cache spared; it has ended."""
        assert self.ended is not None
        prompt = self.ended.prompt_tokens or (self.started.prompt_tokens if self.started else 0)
        return prompt, self.ended.output_tokens, self.ended.cached_tokens

    async def batches(self) -> AsyncIterator[Sequence[Event]]:
        """Events as they come, and an empty batch after every silence; the last one ends with ``Ended``.

        Raises ``Unavailable`` when the log could not be read for ``PATIENCE_SECONDS``, and what it was ended with.
        """
        async for batch in self._log.batches():
            await self._check(batch)
            self._log.silence = SILENCE_SECONDS
            if self._log.trouble:
                await self._recover(self._log.trouble)
            yield batch

    async def _check(self, batch: Sequence[Event]) -> None:
        """Raises what its reader is told instead. It may be for its key that an answer was stopped by somebody else."""
        if self._left:
            return
        if batch and isinstance(batch[-1], Ended) and batch[-1].reason == "cancelled":
            await key_watch.look_safely()
        if self._refusal:
            raise self._refusal

    async def settle(self) -> None:
        """The ended answer is charged, so that what its caller is told is what the ledger says."""
        await in_thread(settle_call)(generation_id=self.job.id)
        self._settled = True

    def end(self, refusal: ChatappError) -> None:
        """Whoever reads it is told this and nothing else, at once, whatever its worker does."""
        self._refusal = refusal
        self._log.look_up()

    def leave(self) -> None:
        """Nobody reads on. An answer that has not ended is stopped; all are charged for what was written."""
        if not self._settled and not self._left:
            self._left = True
            self._loop.call_soon_threadsafe(self._stop_soon)

    def _stop_soon(self) -> None:
        task = self._loop.create_task(self._stop())
        _leaving.add(task)
        task.add_done_callback(_leaving.discard)

    async def _stop(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if self.ended is None:
                    await self._cancel()
                async for _ in self.batches():
                    pass
            await self.settle()
        except (TimeoutError, Unavailable):
            logger.warning("call.stopped_later", generation=self.job.id)

    async def _cancel(self) -> None:
        while True:
            try:
                return await asyncio.to_thread(get_transport().cancel, self.job.id)
            except TransportUnavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def _recover(self, trouble: InferenceError) -> None:
        """A job that was forgotten before a word of it was written is submitted again."""
        failing = self._log.failing_seconds
        if failing > PATIENCE_SECONDS:
            raise Unavailable("This answer was lost before it was complete. Please try again.", retry_after=5)
        forgotten = failing > FORGOTTEN_SECONDS and self._log.seq == 0 and isinstance(trouble, UnknownGeneration)
        if forgotten and not self._left:
            await asyncio.to_thread(self._submit_again)

    def _submit_again(self) -> None:
        try:
            get_transport().submit(self.job)
        except TransportUnavailable:
            logger.warning("call.still_unreachable", generation=self.job.id)


class Answers:
    """All the answers to one call, one for each job, for as long as its key is good. As with one, whoever makes it
    calls ``leave`` in the end.
    """

    def __init__(self, jobs: Sequence[Job], caller: Caller) -> None:
        self.all = [Answer(job) for job in jobs]
        key_watch.listen(self._end, caller)

    @property
    def started(self) -> Started | None:
        """How the first of them that has begun was begun."""
        return next((answer.started for answer in self.all if answer.started), None)

    async def batches(self) -> AsyncIterator[Batch]:
        """``Answer.batches`` of all of them as they come. Raises what any of them raises."""
        if len(self.all) == 1:  # a task for each batch is not for free
            async for batch in self.all[0].batches():
                yield 0, batch
            return
        streams = [answer.batches() for answer in self.all]
        next_of = {_next(stream): index for index, stream in enumerate(streams)}
        try:
            while next_of:
                done, _ = await asyncio.wait(next_of, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    index, new = next_of.pop(task), task.result()
                    if new is not None:
                        yield index, new
                        next_of[_next(streams[index])] = index
        finally:
            for task in next_of:
                task.cancel()

    async def settle(self) -> None:
        for answer in self.all:
            await answer.settle()

    def leave(self) -> None:
        key_watch.remove(self._end)
        for answer in self.all:
            answer.leave()

    def _end(self, refusal: ChatappError) -> None:
        for answer in self.all:
            answer.end(refusal)


def _next(stream: AsyncIterator[Sequence[Event]]) -> asyncio.Task[Sequence[Event] | None]:
    """The stream's next batch, None when it is over."""

    async def read() -> Sequence[Event] | None:
        return await anext(stream, None)

    return asyncio.create_task(read())
