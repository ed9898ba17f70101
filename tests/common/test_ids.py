"""UUIDv7 keys."""

from __future__ import annotations

import time

from chatapp.common.ids import uuid7


def test_ids_are_version_7_and_carry_the_time():
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= after


def test_later_ids_sort_later_and_none_comes_twice():
    first = uuid7()
    time.sleep(0.002)
    later = [uuid7() for _ in range(1000)]
    assert first < min(later)
    assert len(set(later)) == 1000
