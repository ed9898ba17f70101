"""How a worker's process hears that something has changed, without asking: one subscription, one thread.

A message is a hint and may be lost; whoever waits asks again after a while, and whenever the connection
was lost everything may have changed.
"""

from __future__ import annotations

import logging
import threading
import time

import redis

from .marks import Mark, Marks, News
from .redis_away import is_away
from .redis_scripts import Settings, listening_options

logger = logging.getLogger(__name__)

PING_SECONDS = 10.0
START_SECONDS = 2.0
RETRY_SECONDS = 0.5


class Subscription:
    """``changed`` and ``wait`` by worker. The thread starts with the first question and ends with ``close``."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._channel = settings, settings.prefix + "work"
        self._marks = Marks()
        self._starting = threading.Lock()
        self._listening = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def changed(self, worker: str) -> News:
        """What may have changed since this was last asked; everything when in doubt."""
        self._start()
        changes = self._marks.changed(worker)
        return changes if self._listening.is_set() else News(True, True)

    def mark(self, worker: str) -> Mark:
        """A point in time for ``wait``."""
        self._start()
        return self._marks.mark(worker)

    def wait(self, worker: str, mark: Mark, seconds: float) -> None:
        """Until something has changed since ``mark``, or ``seconds`` are over."""
        self._marks.wait(worker, mark, seconds)

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join(2 * RETRY_SECONDS)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="redis-news", daemon=True)
                self._thread.start()
        self._listening.wait(START_SECONDS)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen()
            except Exception as error:  # a thread that ended would leave its worker deaf
                if not is_away(error):
                    logger.exception("the subscription to the transport's news failed")
                self._listening.clear()
                self._marks.tell_everybody()
                self._closing.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        client = redis.Redis.from_url(self._settings.url, **listening_options())
        with client, client.pubsub() as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(self._channel)
            heard = time.monotonic()
            while not self._closing.is_set():
                message = subscription.get_message(timeout=RETRY_SECONDS)
                if message is not None:
                    heard = time.monotonic()
                    self._take(message)
                elif time.monotonic() - heard > 2 * PING_SECONDS:
                    raise redis.TimeoutError("the connection is silent")
                elif time.monotonic() - heard > PING_SECONDS:
                    subscription.ping()

    def _take(self, message: dict[str, object]) -> None:
        if message["type"] == "subscribe":
            self._marks.tell_everybody()
            self._listening.set()
        elif message["type"] == "message":
            data = message["data"]
            self._marks.tell(data.decode() if isinstance(data, bytes) else "")
