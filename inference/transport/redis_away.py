"""Which of Redis's errors mean that it is away for now: the one place that decides, for everything that asks it.

A server that cannot be reached, restarts, has been made a replica, has lost its leader or its replicas, cannot save, or
has no memory left: all of it passes, and whoever asks refuses in words or waits, and asks again.
"""

from __future__ import annotations

import re

import redis

# Codes at the beginning of an error, or inside of one that a script has met.
_PASSING = (
    *("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN"),
    *("ASK", "MOVED"),  # a cluster's keys are on their way to another node
)
_IN_WORDS = re.compile(rf"(?:^|[\s:@-])(?:{'|'.join(_PASSING)})\s")
_CLASSES = (
    *(redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, redis.OutOfMemoryError, OSError),
    *(redis.exceptions.ClusterDownError, redis.exceptions.TryAgainError, redis.exceptions.AskError),
)

MAYBE_AWAY = (redis.RedisError, OSError)  # to be caught, and asked about


def is_away(error: BaseException) -> bool:
    """False for what is wrong with us: a command, a type, a permission."""
    if isinstance(error, _CLASSES):
        return True
    return isinstance(error, redis.ResponseError) and _IN_WORDS.search(str(error)) is not None
