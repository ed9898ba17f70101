"""The Lua scripts of the Redis transport, each one atomic step on the server.

``lua/common.lua`` and ``lua/tape.lua`` hold what they share; they are put in front of each, below the constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from ..errors import TransportUnavailable
from ..line.fairness import EMBEDDED_COST, OUTPUT_COST, PROMPT_COST, TINY
from ..wire import VERSION
from .redis_away import MAYBE_AWAY, is_away

FOLDER = Path(__file__).parent / "lua"
READING = ("log", "leave", "live", "unreleased", "stats", "waiting")
WRITING = ("submit", "cancel", "claim", "publish", "restore", "renew", "hand_back", "release")

CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 5.0
HEALTH_SECONDS = 15

Clock = Callable[[], float] | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the keys are, and seconds; ``clock`` None is the server's own, which all processes share."""

    url: str
    prefix: str = "{chatapp}:"
    lease: float = 15.0
    heartbeat: float = 10.0
    retention: float = 60.0
    unreleased: float = 86_400.0
    max_attempts: int = 2
    sticky: float = 0.2
    longest_log: int = 20_000
    longest_tape: int = 2**18  # bytes
    clock: Clock = None

    def now(self) -> str:
        return "" if self.clock is None else repr(self.clock())

    def source(self, name: str) -> str:
        """The whole text of a script."""
        constants = {
            "LEASE": self.lease,
            "RETENTION": self.retention,
            "UNRELEASED": math.ceil(self.unreleased),
            "MAX_ATTEMPTS": self.max_attempts,
            "STICKY": self.sticky,
            "LONGEST_LOG": self.longest_log,
            "LONGEST_TAPE": self.longest_tape,
            "PROMPT_COST": PROMPT_COST,
            "OUTPUT_COST": OUTPUT_COST,
            "EMBEDDED_COST": EMBEDDED_COST,
            "TINY": TINY,
            "VERSION": VERSION,
        }
        lines = "".join(f"local {constant} = {value}\n" for constant, value in constants.items())
        shared = ("common", "tape", "writable") if name in WRITING else ("common", "tape")
        return lines + "".join(map(_read, (*shared, name)))


class Scripts:
    """Runs the scripts from any thread. Raises ``TransportUnavailable`` when the server cannot be reached."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.client = redis.Redis.from_url(settings.url, **connection_options())
        self._scripts = {name: self.client.register_script(settings.source(name)) for name in WRITING + READING}

    def run(self, name: str, *args: Any) -> Any:
        with reaching(self._settings.url):
            return self._scripts[name](keys=[self._settings.prefix], args=[self._settings.now(), *args])

    def close(self) -> None:
        self.client.close()


def connection_options(retry: type[Retry] | type[AsyncRetry] = Retry, retries: int = 1) -> dict[str, Any]:
    """For a connection that asks and answers. Retries are safe: every script may run twice."""
    return {
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_SECONDS,
        "retry": retry(ExponentialBackoff(cap=0.2, base=0.02), retries),
    }


def listening_options(retry: type[Retry] | type[AsyncRetry] = Retry) -> dict[str, Any]:
    """For a connection that waits for messages as long as it takes; whoever holds it asks whether it lives."""
    return connection_options(retry, 0) | {"socket_timeout": None, "health_check_interval": 0}


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Whatever means that the server is not there, as ``TransportUnavailable``."""
    try:
        yield
    except MAYBE_AWAY as error:
        if not is_away(error):
            raise
        place = url.rpartition("@")[2]  # never the password
        raise TransportUnavailable(f"Redis at {place} cannot be reached: {error}") from error


@cache
def _read(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")
