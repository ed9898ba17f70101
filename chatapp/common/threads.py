"""Where asynchronous code asks the database: a few threads of the process's own, whatever it serves.

One thread for all would make everybody wait for everybody's queries; one for each would take the interpreter from the
loop that sends tokens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async
from django.db import connection

THREADS = 4

P = ParamSpec("P")
R = TypeVar("R")


def in_thread(function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """``function`` to be awaited, in the caller's context, with a connection from the pool for as long as it runs."""
    awaitable: Callable[P, Awaitable[R]]
    awaitable = database_sync_to_async(function, thread_sensitive=False, executor=_threads())
    return awaitable


@cache
def _threads() -> ThreadPoolExecutor:
    """SQLite has one writer: more would sleep until it is done."""
    return ThreadPoolExecutor(1 if connection.vendor == "sqlite" else THREADS, "database")
