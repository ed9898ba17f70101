"""Connections that wait to be used again. One that died meanwhile is never given to anybody."""

from __future__ import annotations

import select
import threading
import time
from collections import deque
from collections.abc import Callable

import psycopg
from psycopg.pq import TransactionStatus

Connection = psycopg.Connection[tuple[object, ...]]

IDLE_SECONDS = 300.0  # what nobody has wanted for so long is closed


class Pool:
    """Up to ``size`` connections at once, each made with ``connect`` by whoever finds none waiting.

    No thread connects in the background, so none backs off: while the server is away everybody is told so at once, and
    whoever asks first when it is back has a connection. Thread-safe. The verbs are those that Django calls.
    """

    def __init__(self, connect: Callable[[], Connection], *, size: int, wait: float) -> None:
        self.size, self._connect, self._wait = size, connect, wait
        self._room = threading.BoundedSemaphore(size)
        self._idle: deque[tuple[float, Connection]] = deque()  # since when; the newest last

    def open(self) -> None:
        """There is nothing to open."""

    def getconn(self) -> Connection:
        """Raises ``OperationalError`` when the server is away, or none comes free for ``wait`` seconds."""
        if not self._room.acquire(timeout=self._wait):
            raise psycopg.OperationalError(f"every connection to the database was in use for {self._wait:.0f} s")
        try:
            connection = self._take() or self._connect()
        except BaseException:
            self._room.release()
            raise
        connection._pool = self  # type: ignore[assignment]  # where Django brings it back to
        return connection

    def putconn(self, connection: Connection) -> None:
        try:
            if _is_at_rest(connection):
                self._idle.append((time.monotonic(), connection))
            else:
                connection.close()
            self._close_idle(time.monotonic() - IDLE_SECONDS)
        finally:
            self._room.release()

    def close(self) -> None:
        """Those that wait. What is in use is closed by whoever uses it."""
        self._close_idle(float("inf"))

    def _take(self) -> Connection | None:
        """The one that was used last, so that the others grow old."""
        while self._idle:
            try:
                connection = self._idle.pop()[1]
            except IndexError:  # another thread was quicker
                return None
            if _is_silent(connection):
                return connection
            connection.close()
        return None

    def _close_idle(self, before: float) -> None:
        while self._idle and self._idle[0][0] < before:
            try:
                self._idle.popleft()[1].close()
            except IndexError:
                return


def _is_silent(connection: Connection) -> bool:
    """A server says nothing to a connection that rests, but that it ends. Looks at the socket, asks nobody."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return not poll.poll(0)


def _is_at_rest(connection: Connection) -> bool:
    if connection.closed or connection.broken:
        return False
    if connection.pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        try:
            connection.rollback()
        except psycopg.Error:
            return False
    return connection.pgconn.transaction_status == TransactionStatus.IDLE
