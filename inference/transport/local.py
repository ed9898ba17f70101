"""A memory transport reached from other processes of the same person on the same machine.

The serving process offers its ``MemoryTransport`` over a Unix socket (the standard library's
managers, authenticated by a key both sides hold); Celery's tasks use ``LocalTransport``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

from ..errors import TransportUnavailable
from ..messages import Claim, Ended, Event, Job, Position, Renewal, Stats, Waiting, WorkerReport
from .memory import MemoryTransport

POLL_SECONDS = 0.1


def serve_local(
    path: Path, key: bytes, transport: MemoryTransport, hint: Callable[[str, dict[str, Any]], None]
) -> None:
    """Offer ``transport`` and ``hint`` at the socket ``path``, from a daemon thread, until the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)

    class Manager(BaseManager):
        pass

    Manager.register("transport", callable=lambda: transport)
    Manager.register("hints", callable=lambda: _Hints(hint), exposed=("send",))
    server = Manager(address=str(path), authkey=key).get_server()
    path.chmod(0o600)
    threading.Thread(target=server.serve_forever, name="transport-socket", daemon=True).start()


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

    def claim(self, worker: str, free_slots: int, free_kv_tokens: int, wait: float = 0.0) -> list[Claim]:
        claims: list[Claim] = self._call("claim", worker, free_slots, free_kv_tokens, wait)
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

    def news(self, worker: str) -> bool:
        return True

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
