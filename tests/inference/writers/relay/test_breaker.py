"""The circuit breaker, on a clock of the test's own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.writers.relay.breaker import LONGEST_PAUSE, Breaker


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def fail(breaker, times=1):
    for _ in range(times):
        breaker.begin()
        breaker.failed()


def test_it_opens_after_three_failures_in_a_row_and_not_before():
    breaker = Breaker(Clock())
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.allows
    fail(breaker)
    assert not breaker.allows


def test_half_open_it_lets_one_request_through_whose_end_decides():
    clock = Clock()
    breaker = Breaker(clock)
    fail(breaker, 3)
    clock.now += 1.0
    assert breaker.allows
    breaker.begin()
    assert not breaker.allows, "one at a time"
    breaker.failed()
    clock.now += 1.9
    assert not breaker.allows, "the second pause is twice as long"
    clock.now += 0.1
    breaker.begin()
    breaker.succeeded()
    assert breaker.is_closed


def test_a_trial_given_up_leaves_the_place_to_another():
    clock = Clock()
    breaker = Breaker(clock)
    fail(breaker, 3)
    clock.now += 1.0
    breaker.begin()
    breaker.abandoned()
    assert breaker.allows


def test_requests_that_were_under_way_when_it_opened_make_the_pause_no_longer():
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(20):
        breaker.begin()
    for _ in range(20):
        breaker.failed()
    clock.now += 1.0
    assert breaker.allows


@given(st.lists(st.sampled_from(["fail", "succeed", "wait", "abandon"]), max_size=60))
def test_whatever_happens_it_lets_a_request_through_again_within_the_longest_pause(happenings):
    clock = Clock()
    breaker = Breaker(clock)
    for happening in happenings:
        if happening == "wait":
            clock.now += 0.7
        elif breaker.allows:
            breaker.begin()
            {"fail": breaker.failed, "succeed": breaker.succeeded, "abandon": breaker.abandoned}[happening]()
    clock.now += LONGEST_PAUSE
    assert breaker.allows
