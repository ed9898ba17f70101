"""How a process's readers follow logs: one subscription for all of them, whatever they follow.

A reader asks once for what is there, and from then on its process hears what is written: every flush
of a worker arrives as one message with the events of all the logs that somebody in this process reads.
What a lost connection or a slow reader has missed is read from the log again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Container, Iterable
from typing import Any

import redis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry

from ..errors import LogExpired, TransportUnavailable, UnknownGeneration
from ..messages import Ended, Event
from ..wire import decode_event
from .redis_away import is_away
from .redis_scripts import Settings, connection_options, listening_options, reaching

logger = logging.getLogger(__name__)

PING_SECONDS = 10.0
RETRY_SECONDS = 0.5
MOST_PENDING = 512  # events kept for a slow reader; beyond that it reads the log again


class Reader:
    """One who follows a log. ``pending`` are events that came since it last looked."""

    __slots__ = ("_waiting", "behind", "missed", "pending", "seq")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.behind = True  # something may be in the log that was not heard
        self.missed = False  # and has not been told of yet
        self.pending: list[Event] = []
        self._waiting: asyncio.Future[None] | None = None

    def tell(self, events: list[Event]) -> None:
        if len(self.pending) + len(events) > MOST_PENDING:
            self.lose()
        else:
            self.pending += events
            self._wake()

    def lose(self) -> None:
        """What came is not all there is."""
        self.pending, self.behind, self.missed = [], True, True
        self._wake()

    async def wait(self) -> None:
        """Until something has come, or may have been missed."""
        if not self.pending and not self.behind:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    def take(self) -> list[Event]:
        """The events that came after its number; none when some are missing before them."""
        events, self.pending = self.pending, []
        if events and events[0].seq <= self.seq:
            events = [event for event in events if event.seq > self.seq]
        if events and events[0].seq != self.seq + 1:
            self.behind = True
        return [] if self.behind else events

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)


class Readers:
    """The readers in one event loop. Connected while there are any."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = uuid.uuid4().hex
        self._readers: dict[str, set[Reader]] = {}
        self._names: dict[bytes, str] = {}  # of those that are read, as they come
        self._listener: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._client: Redis | None = None
        self._asking = 0

    async def follow(self, generation: str, after_seq: int) -> AsyncIterator[list[Event]]:
        """See ``base.Transport.follow``. Once it has begun, it outlasts a server that is away."""
        reader = Reader(after_seq)
        self._join(generation, reader)
        try:
            events, ended = await self._catch_up(generation, reader)
            reader.missed = False  # nothing has been told yet
            while True:
                if reader.missed:
                    reader.missed = False
                    yield []
                if events:
                    reader.seq = events[-1].seq
                    yield events
                if ended or (events and isinstance(events[-1], Ended)):
                    return
                events, ended = await self._next(generation, reader)
        finally:
            await self._leave(generation, reader)

    async def _next(self, generation: str, reader: Reader) -> tuple[list[Event], bool]:
        """Events after the reader's number, once there are any; and whether the log has ended."""
        while True:
            await reader.wait()
            if events := reader.take():
                return events, False
            if reader.behind:
                try:
                    return await self._catch_up(generation, reader)
                except TransportUnavailable:
                    await asyncio.sleep(RETRY_SECONDS)
                    reader.lose()

    async def _catch_up(self, generation: str, reader: Reader) -> tuple[list[Event], bool]:
        """Read the log, and be told from here on."""
        with reaching(self._settings.url):
            try:
                async with asyncio.timeout(5):
                    await self._listening.wait()
            except TimeoutError as error:
                raise redis.ConnectionError("no subscription") from error
            reader.behind, reader.pending = False, []
            answer = await self._run("log", generation, reader.seq, self._name)
        return read_log(generation, reader.seq, answer)

    async def _run(self, name: str, *args: Any) -> Any:
        self._asking += 1
        try:
            return await self._ask(name, *args)
        finally:
            self._asking -= 1
            if not self._readers and not self._asking:
                await self._disconnect()

    async def _ask(self, name: str, *args: Any) -> Any:
        if self._client is None:
            pool = BlockingConnectionPool.from_url(self._settings.url, max_connections=1, **connection_options(Retry))
            self._client = Redis(connection_pool=pool)
        script = self._client.register_script(self._settings.source(name))
        return await script(keys=[self._settings.prefix], args=[self._settings.now(), *args])

    # Coming and going

    def _join(self, generation: str, reader: Reader) -> None:
        self._readers.setdefault(generation, set()).add(reader)
        self._names[generation.encode()] = generation
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen_on(), name="redis-readers")

    async def _leave(self, generation: str, reader: Reader) -> None:
        readers = self._readers[generation]
        readers.discard(reader)
        if readers:
            return
        del self._readers[generation], self._names[generation.encode()]
        if not self._readers and self._listener is not None:
            self._listener.cancel()
            self._listener = None
            self._listening.clear()
        with contextlib.suppress(TransportUnavailable), reaching(self._settings.url):  # the log's end makes up for it
            await self._run("leave", generation, self._name)

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose(close_connection_pool=True)

    # The subscription

    async def _listen_on(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # a task that ended would leave every reader waiting
                if is_away(error):
                    logger.warning("the subscription to Redis was lost: %s", error)
                else:
                    logger.exception("the subscription to Redis failed")
            self._listening.clear()
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        client = Redis.from_url(self._settings.url, **listening_options(Retry))
        async with client, client.pubsub() as subscription:
            await subscription.subscribe(f"{self._settings.prefix}reader:{self._name}")
            heard = time.monotonic()
            while True:
                message = await subscription.get_message(timeout=PING_SECONDS)
                if message is not None:
                    heard = time.monotonic()
                    self._take(message)
                elif time.monotonic() - heard > 2.5 * PING_SECONDS:
                    raise redis.TimeoutError("the connection is silent")
                else:
                    await subscription.ping()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._listening.set()
            for readers in self._readers.values():
                for reader in readers:
                    reader.lose()
        elif message["type"] == "message":
            for name, lines in read_records(message["data"], self._names).items():
                events = [decode_event(line) for line in lines]
                for reader in self._readers[self._names[name]]:
                    reader.tell(events)


def read_records(text: bytes, names: Container[bytes]) -> dict[bytes, list[bytes]]:
    """The events of those that are among ``names``, out of records as ``record`` of lua/common.lua makes them."""
    logs: dict[bytes, list[bytes]] = {}
    for line in text.split(b"\n"):
        name, _, rest = line.partition(b" ")
        if name in names:
            logs.setdefault(name, []).append(rest.split(b" ", 2)[2])
    return logs


def read_log(generation: str, after_seq: int, answer: Any) -> tuple[list[Event], bool]:
    """The events after ``after_seq`` in the answer of ``log.lua``, and whether the last one is there."""
    if answer is None:
        raise UnknownGeneration(generation)
    ended, entries = answer
    events = [event for event in read_entries(entries) if event.seq > after_seq]
    if events and events[0].seq != after_seq + 1:
        raise LogExpired(generation)
    return events, bool(ended)


def read_entries(entries: Iterable[bytes]) -> list[Event]:
    """The events of a log's entries, each of which holds one flush."""
    return [decode_event(line) for entry in entries for line in entry.split(b"\n")]
