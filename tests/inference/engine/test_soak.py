"""Twenty seconds of the soak that benchmarks/soak.py runs for half an hour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.soak import soak


def test_random_requests_aborts_and_preemptions_leave_nothing_behind(make_engine: Callable[..., Any]) -> None:
    tally = soak(make_engine(num_kv_blocks=80, max_num_seqs=12), seconds=20, round_seconds=4)
    assert tally.leaks == []
    assert min(tally.asked, tally.ended, tally.aborted, tally.preemptions) > 50
    assert tally.failed_steps == 0
