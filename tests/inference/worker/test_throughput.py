"""What a worker's reports say of its speed."""

from __future__ import annotations

import pytest

from inference.messages import Claim, Ended, Job, Sampling, Text, WorkerReport
from inference.worker.throughput import ANSWERS, Throughput

REPORT = WorkerReport("w", "ready")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Throughput(clock)


def claim(generation, limit=100, token_ids=(), prompt_tokens=0):
    return Claim(Job(generation, "a", "m", (), Sampling(limit), prompt_tokens), token_ids, tokens=len(token_ids))


def write(pace, clock, names, seconds, a_second):
    """Every answer writes ``a_second`` tokens a second, reported twice a second."""
    for _ in range(int(seconds * 2)):
        clock.now += 0.5
        for name in names:
            pace.saw({name: [Text(1, "", tuple(range(a_second // 2)))]})
        report = pace.describe(REPORT)
    return report


def test_a_worker_that_has_done_nothing_has_nothing_to_tell(pace, clock):
    clock.now = 9.0
    assert pace.describe(REPORT) == REPORT


def test_the_rate_is_that_of_one_answer_whatever_the_idle_time(pace, clock):
    pace.began([claim("a"), claim("b")])
    assert write(pace, clock, ["a", "b"], 2, 20).rate == pytest.approx(20)
    pace.lost(["a", "b"])
    clock.now += 1000
    assert pace.describe(REPORT).rate == pytest.approx(20)


def test_the_rate_told_is_that_of_the_fullest_time(pace, clock):
    pace.began([claim("a")])
    assert write(pace, clock, ["a"], 5, 40).rate == pytest.approx(40)
    pace.began([claim("b"), claim("c"), claim("d")])
    full = write(pace, clock, "abcd", 60, 10).rate
    assert full == pytest.approx(10, rel=0.01)
    pace.lost("bcd")
    assert write(pace, clock, ["a"], 5, 40).rate == full


def test_the_rate_follows_a_change_within_seconds(pace, clock):
    pace.began([claim("a")])
    write(pace, clock, ["a"], 10, 40)
    assert write(pace, clock, ["a"], 5, 20).rate == pytest.approx(20 + 20 / 2.718, rel=0.01)


def test_prompts_count_for_a_tenth_of_what_is_written(pace, clock):
    pace.began([claim("a", prompt_tokens=100)])
    clock.now = 2.0
    pace.saw({"a": [Text(1, "", tuple(range(10)))]})
    assert pace.describe(REPORT).rate == pytest.approx((10 + 10) / 2)


def test_answers_under_way_are_told_with_what_they_have_and_may_have(pace):
    pace.began([claim("a", 50, token_ids=(1, 2, 3)), claim("b", 60)])
    pace.saw({"a": [Text(1, "x", (4, 5)), Text(2, "y", without_ids=2)]})
    assert pace.describe(REPORT).answers == ((7, 50), (0, 60))
    pace.saw({"a": [Ended(2, "stop", 5)]})
    assert pace.describe(REPORT).answers == ((0, 60),)


def test_lengths_are_of_the_last_answers_that_came_to_their_own_end(pace):
    for n, reason in enumerate(["stop", "cancelled", "failed", "length"]):
        pace.began([claim(str(n))])
        pace.saw({str(n): [Ended(1, reason, 10 + n)]})
    assert pace.describe(REPORT).lengths == (10, 13)
    for n in range(ANSWERS):
        pace.began([claim(str(n))])
        pace.saw({str(n): [Ended(1, "stop", 7)]})
    assert pace.describe(REPORT).lengths == (7,) * ANSWERS


def test_events_of_a_lost_answer_are_nothing_to_tell(pace):
    pace.began([claim("a")])
    pace.lost(["a"])
    pace.saw({"a": [Ended(1, "stop", 10)]})
    assert pace.describe(REPORT) == REPORT
