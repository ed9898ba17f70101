"""A Redis of a test's own, to be killed and started again at the same address."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from inference.transport import RedisTransport
from scripts.programs import free_port, wait_for_port

NOWHERE = ("127.0.0.1", 9)
REFUSALS: dict[str, list[tuple[object, ...]]] = {
    "readonly": [("REPLICAOF", *NOWHERE)],
    "noreplicas": [("CONFIG", "SET", "min-replicas-to-write", 1)],
    "oom": [("CONFIG", "SET", "maxmemory", 1)],
    "masterdown": [("CONFIG", "SET", "replica-serve-stale-data", "no"), ("REPLICAOF", *NOWHERE)],
}


class RedisServer:
    """Empty at every start: it writes nothing to disk."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", tempfile.gettempdir()]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for_port(self.port)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self, *words: object) -> Any:
        """What an operator does to it."""
        return command(self.url, *words)

    def refuse(self, how: str) -> None:
        """From now on it answers and does not write: ``readonly``, ``noreplicas``, ``oom``, ``masterdown``."""
        refuse(self.url, how)

    def accept(self) -> None:
        """As it was."""
        accept(self.url)


class Memory:
    """The keys of one test in the tests' Redis, or in another."""

    def __init__(self, url: str = "", prefix: str = "") -> None:
        self.url = url or os.environ["REDIS_URL"]
        self.prefix = prefix or f"{{test-{uuid.uuid4().hex[:8]}}}:"
        self._client = redis.Redis.from_url(self.url)
        self._before: dict[bytes, tuple[int, bytes]] = {}

    @contextmanager
    def transport(self, **settings: Any) -> Iterator[RedisTransport]:
        """One that has this memory, empty before and after."""
        transport = RedisTransport(self.url, prefix=self.prefix, **settings)
        yield transport
        transport.close()
        self.forget()

    def _keys(self) -> list[bytes]:
        return list(self._client.keys(self.prefix + "*"))

    def forget(self) -> None:
        """What a restart without memory does."""
        if keys := self._keys():
            self._client.delete(*keys)

    def replicate(self) -> None:
        """A replica has heard of everything until now."""
        self._before = {key: (max(0, self._client.pttl(key)), self._client.dump(key)) for key in self._keys()}

    def fail_over(self) -> None:
        """That replica takes over: what came since is lost."""
        with self._client.pipeline() as both:
            for key in self._keys():
                both.delete(key)
            for key, (milliseconds, value) in self._before.items():
                both.restore(key, milliseconds, value)
            both.execute()

    def seconds_left(self, generation: str) -> int:
        """Until the log of ``generation`` goes."""
        return self._client.ttl(f"{self.prefix}log:{generation}")

    def age(self, seconds: float) -> None:
        self._client.hset(self.prefix + "state", "since", time.time() - seconds)


def command(url: str, *words: object) -> Any:
    with redis.Redis.from_url(url) as client:
        return client.execute_command(*words)


def refuse(url: str, how: str) -> None:
    for words in REFUSALS[how]:
        command(url, *words)


def accept(url: str) -> None:
    command(url, "REPLICAOF", "NO", "ONE")
    for name, value in (("min-replicas-to-write", 0), ("maxmemory", 0), ("replica-serve-stale-data", "yes")):
        command(url, "CONFIG", "SET", name, value)
