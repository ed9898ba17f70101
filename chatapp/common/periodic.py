"""Tasks that come again and again, and of which one run at a time is enough."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps

from celery.exceptions import Ignore


def one_at_a_time(function: Callable[[], None]) -> Callable[[], None]:
    """Leave a run out while the one before is under way in this process: it is not to take the thread of another."""
    running = threading.Lock()

    @wraps(function)
    def run() -> None:
        if not running.acquire(blocking=False):
            raise Ignore
        try:
            function()
        finally:
            running.release()

    return run
