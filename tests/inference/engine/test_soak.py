"""A few seconds of the soak that benchmarks/soak.py runs for half an hour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.soak import soak


@pytest.mark.parametrize("overlap", [False, True])
def test_random_requests_aborts_and_preemptions_leave_nothing_behind(
    overlap: bool, make_engine: Callable[..., Any]
) -> None:
    engine = make_engine(num_kv_blocks=80, max_num_seqs=12, overlap=overlap)
    tally = soak(engine, seconds=12, round_seconds=3)
    assert tally.leaks == []
    assert min(tally.asked, tally.ended, tally.aborted, tally.preemptions) > 5
    assert tally.failed_steps == 0
    assert (engine.counters()["overlapped_steps"] > 100) == overlap
