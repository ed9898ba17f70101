"""A memory transport reached from other processes of the same person on the same machine.

The serving process offers its ``MemoryTransport`` over a Unix socket (the standard library's
managers, authenticated by a key both sides hold); workers and Celery's tasks use ``LocalTransport``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

from ..errors import TransportUnavailable
from ..messages import Claim, Ended, Event, Job, Position, Renewal, Stats, Waiting, WorkerReport
from .marks import Mark, Marks, News
from .memory import MemoryTransport

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
LISTEN_SECONDS = 10.0  # until a silent wait for news is begun anew
RETRY_SECONDS = 0.5


def serve_local(
    path: Path, key: bytes, transport: MemoryTransport, hint: Callable[[str, dict[str, Any]], None]
) -> Callable[[], None]:
    """Offer ``transport`` and ``hint`` at the socket ``path``, from a daemon thread, until the process ends.

    Returns what takes the socket away. Left to the interpreter's end, that is a traceback when the file has gone
    before, and takes away the socket of a process that has begun to serve there meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)

    class Manager(BaseManager):
        pass

    Manager.register("transport", callable=lambda: transport)
    Manager.register("hints", callable=lambda: _Hints(hint), exposed=("send",))
    server = Manager(address=str(path), authkey=key).get_server()
    # A reference of our own: the last client to end would take the object with it. The connection is not looked at.
    server.create(None, "transport")  # type: ignore[arg-type]
    path.chmod(0o600)
    threading.Thread(target=server.serve_forever, name="transport-socket", daemon=True).start()

    def close() -> None:
        with contextlib.suppress(FileNotFoundError):
            server.listener.close()  # type: ignore[attr-defined]  # the stubs leave it out

    return close


class _Hints:
    def __init__(self, hint: Callable[[str, dict[str, Any]], None]) -> None:
        self._hint = hint

    def send(self, group: str, message: dict[str, Any]) -> None:
        self._hint(group, message)


class _Client(BaseManager):
    """Names of what the serving process offers."""


_Client.register("transport")
_Client.register("hints")


class LocalTransport:
    """See ``base.Transport``: the memory transport of the process listening at ``path``."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path, self._key = path, key
        self._remote = threading.local()
        self._marks = Marks()
        self._listeners: dict[str, threading.Thread] = {}

    def submit(self, job: Job) -> None:
        self._call("submit", job)

    def cancel(self, generation: str) -> None:
        self._call("cancel", generation)

    def position(self, generation: str) -> Position | None:
        position: Position | None = self._call("position", generation)
        return position

    def line(self, output_tokens: float = 0.0, also: Job | None = None) -> list[Waiting]:
        line: list[Waiting] = self._call("line", output_tokens, also)
        return line

    def stats(self) -> Stats:
        stats: Stats = self._call("stats")
        return stats

    def log(self, generation: str, after_seq: int = 0) -> list[Event]:
        events: list[Event] = self._call("log", generation, after_seq)
        return events

    async def follow(self, generation: str, after_seq: int = 0) -> AsyncIterator[list[Event]]:
        while True:
            events = await asyncio.to_thread(self.log, generation, after_seq)
            if events:
                yield events
                after_seq = events[-1].seq
                if isinstance(events[-1], Ended):
                    return
            await asyncio.sleep(POLL_SECONDS)

    def release(self, generation: str) -> None:
        self._call("release", generation)

    def live(self) -> frozenset[str]:
        names: frozenset[str] = self._call("live")
        return names

    def unreleased(self) -> frozenset[str]:
        names: frozenset[str] = self._call("unreleased")
        return names

    def claim(
        self, worker: str, free_slots: int, free_kv_tokens: int, wait: float = 0.0, spare: int = 0
    ) -> list[Claim]:
        claims: list[Claim] = self._call("claim", worker, free_slots, free_kv_tokens, wait, spare)
        return claims

    def publish(self, worker: str, events: Mapping[str, Sequence[Event]]) -> frozenset[str]:
        refused: frozenset[str] = self._call("publish", worker, dict(events))
        return refused

    def restore(self, worker: str, claim: Claim, events: Sequence[Event]) -> bool:
        held: bool = self._call("restore", worker, claim, list(events))
        return held

    def renew(self, worker: str, report: WorkerReport | None = None) -> Renewal:
        renewal: Renewal = self._call("renew", worker, report)
        return renewal

    def news(self, worker: str) -> News:
        """A thread waits at the other side, so that asking costs nothing, however often an engine does."""
        if worker not in self._listeners:
            listen = threading.Thread(target=self._listen, args=(worker,), name="local-news", daemon=True)
            self._listeners[worker] = listen
            listen.start()
        return self._marks.changed(worker)

    def _listen(self, worker: str) -> None:
        mark = Mark()
        while True:
            try:
                heard: Mark = self._call("wait_for_news", worker, mark, LISTEN_SECONDS)
            except Exception as error:  # a thread that ended would leave its worker deaf
                if not isinstance(error, TransportUnavailable):
                    logger.exception("news from %s cannot be heard", self._path)
                time.sleep(RETRY_SECONDS)
                heard = Mark()
            if heard.line != mark.line:
                self._marks.tell()
            if heard.own != mark.own:
                self._marks.tell(worker)
            mark = heard

    def hand_back(self, worker: str, generations: Collection[str]) -> None:
        self._call("hand_back", worker, tuple(generations))

    def hint(self, group: str, message: dict[str, Any]) -> None:
        """Hand a wake-up hint to the process that holds the sockets."""
        self._call("send", group, message, noun="hints")

    def _call(self, verb: str, *args: Any, noun: str = "transport") -> Any:
        try:
            return getattr(self._connected(noun), verb)(*args)
        except (OSError, EOFError) as error:
            self._remote.__dict__.clear()
            raise TransportUnavailable(f"nothing serves at {self._path}") from error

    def _connected(self, noun: str) -> Any:
        """The remote object, connected once per thread: a connection carries one call at a time."""
        if noun not in self._remote.__dict__:
            client = _Client(address=str(self._path), authkey=self._key)
            client.connect()
            self._remote.__dict__[noun] = getattr(client, noun)()
        return self._remote.__dict__[noun]
