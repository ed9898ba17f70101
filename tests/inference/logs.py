"""What came of a job: its events, and what they say together."""

from __future__ import annotations

import time

from inference.messages import Ended, Text


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def ended(transport, generation="g"):
    wait_until(lambda: isinstance((transport.log(generation) or [None])[-1], Ended))
    log = transport.log(generation)
    assert [one.seq for one in log] == list(range(1, len(log) + 1))
    return log


def text_of(log):
    return "".join(one.text for one in log if isinstance(one, Text))


def tokens_of(log):
    return sum(one.tokens for one in log if isinstance(one, Text))


def ids_of(log):
    return [token for one in log if isinstance(one, Text) for token in one.token_ids]


def thought_of(log):
    return "".join(one.thought for one in log if isinstance(one, Text))
