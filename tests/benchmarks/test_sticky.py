"""The sticky benchmark, on a small load."""

from __future__ import annotations

import os

from benchmarks.sticky import run


def test_turns_find_their_worker_when_there_is_room():
    figures = run(os.environ["REDIS_URL"], sticky=0.2, people=4, turns=2, slots=8)
    assert figures["hit_rate"] == 1.0
    assert figures["wait_p50_ms"] < 100
