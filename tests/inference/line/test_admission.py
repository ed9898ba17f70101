"""How long a job is expected to wait, and who may join the line."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.line.admission import LATEST_RETRY, REOPEN, SOONEST_RETRY, Admission, Verdict, fits
from inference.line.forecast import LENGTHS, SHORTEST, Forecast, expected_output, expected_waits
from inference.messages import Job, Sampling, Waiting, WorkerReport


def worker(free_slots=0, *, rate=10.0, answers=(), lengths=(100,) * 8, state="ready", context_length=1000):
    return WorkerReport(
        "w",
        state,
        context_length=context_length,
        free_slots=free_slots,
        rate=rate,
        answers=tuple(answers),
        lengths=tuple(lengths),
    )


def waiting(number, tenant="t", prompt_tokens=0, max_tokens=1000):
    return [Waiting(f"{tenant}{n}", tenant, prompt_tokens, max_tokens) for n in range(number)]


def job(job_id="new", tenant="t"):
    return Job(job_id, tenant, "m", (), Sampling(1000), 0)


# The expected wait


def test_a_free_place_is_no_wait_and_the_next_job_waits_for_its_end():
    assert expected_waits(waiting(3), [worker(free_slots=1)]) == [0.0, 10.0, 20.0]


def test_answers_under_way_end_when_others_of_their_length_have():
    assert expected_waits(waiting(3), [worker(answers=[(80, 1000), (50, 1000)])]) == [2.0, 5.0, 12.0]


def test_an_answer_ends_at_its_limit_whatever_others_do():
    assert expected_waits(waiting(2, max_tokens=30), [worker(answers=[(10, 20)])]) == [1.0, 4.0]


def test_of_many_answers_the_first_ends_long_before_the_mean():
    lengths = [10, 30, 50, 70, 90, 110, 130, 150]
    waits = expected_waits(waiting(8), [worker(answers=[(0, 1000)] * 8, lengths=lengths)])
    assert waits[0] == 1.0
    assert waits[7] == 11.0  # eight of the mean length, 80 tokens at ten a second, and the time until ends are spread


def test_an_answer_longer_than_any_before_is_given_a_little_more():
    assert expected_waits(waiting(1), [worker(answers=[(200, 1000)])]) == [pytest.approx(5.1)]


def test_prompts_ahead_take_their_time():
    assert expected_waits(waiting(2, prompt_tokens=500), [worker(free_slots=1)]) == [0.0, 15.0]


def test_several_workers_empty_one_line_at_their_mean_rate():
    fast, slow = worker(rate=30.0, answers=[(0, 1000)]), worker(rate=10.0, answers=[(0, 1000)])
    assert expected_waits(waiting(2), [fast, slow]) == [5.0, 5.0]


@pytest.mark.parametrize("workers", [[], [worker(4, state="loading")], [worker(rate=0.0, answers=[(0, 9)])]])
def test_nobody_can_tell_without_a_ready_worker_that_has_written(workers):
    assert expected_waits(waiting(2), workers) == [None, None]


def test_a_fresh_worker_can_tell_at_least_who_goes_at_once():
    assert expected_waits(waiting(2), [worker(free_slots=1, rate=0.0)]) == [0.0, None]


def test_few_answers_are_not_enough_to_go_by():
    assert expected_output([worker(lengths=[40] * 8)]) == 40
    assert expected_output([]) == sum(LENGTHS) / len(LENGTHS)
    assert expected_output([worker(lengths=[40] * 7)]) == (sum(LENGTHS) + 280) / 13


def test_a_wait_that_runs_down_as_it_should_is_told_as_the_line_says():
    forecast = Forecast()
    for now in range(30):
        forecast.observe(waiting(1), [worker(answers=[(now * 10, 1000)], lengths=[1000] * 8)], float(now))
    assert forecast.waits(waiting(2), [worker(answers=[(500, 1000)], lengths=[1000] * 8)]) == [50.0, 150.0]


def test_a_tenant_that_others_step_ahead_of_is_told_to_wait_longer_and_the_others_are_not():
    forecast = Forecast()
    for now in range(0, 60):
        ahead = waiting(1, "quick") if now % 2 else []  # another comes as often as one goes
        busy = worker(answers=[((now % 2) * 10, 20)], lengths=[20] * 8)
        forecast.observe([*ahead, *waiting(1, "slow")], [busy], float(now))
    line = [*waiting(1, "new"), *waiting(1, "slow")]
    new, slow = forecast.waits(line, [worker(answers=[(0, 20)], lengths=[20] * 8)])
    assert new == 2.0
    assert slow > 2 * 4.0


def test_a_wait_that_chance_decides_is_told_as_what_most_are_less_than_twice_of():
    almost_there = worker(answers=[(95, 1000)])
    assert expected_waits(waiting(1), [almost_there]) == [0.5]
    assert Forecast().waits(waiting(1), [almost_there]) == [SHORTEST]
    assert Forecast().waits(waiting(1), [worker(1)]) == [0.0]


def test_what_happened_while_nobody_looked_is_not_counted():
    forecast = Forecast()
    forecast.observe(waiting(1), [worker(answers=[(0, 20)])], 1.0)
    forecast.observe([], [worker(1)], 1000.0)
    assert forecast.waits(waiting(2), [worker(1)]) == [0.0, 10.0]


def test_the_forecast_keeps_to_what_nobody_can_tell_and_to_no_wait_at_all():
    forecast = Forecast()
    assert forecast.observe(waiting(2), [], 1.0) == [None, None]
    assert forecast.observe(waiting(1), [worker(1)], 2.0) == [0.0]


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 600)), max_size=8),
    st.lists(st.integers(1, 900), max_size=20),
    st.integers(0, 4),
    st.integers(1, 30),
)
def test_nobody_waits_less_than_those_ahead(answers, lengths, free_slots, number):
    waits = expected_waits(waiting(number), [worker(free_slots, answers=answers, lengths=lengths)])
    if answers or free_slots:
        assert waits == sorted(waits)
        assert waits[:free_slots] == [0.0] * min(free_slots, number)
        assert all(math.isfinite(wait) for wait in waits)
    else:
        assert waits == [None] * number


def test_a_prompt_fits_the_largest_context_or_is_for_a_worker_to_judge():
    assert fits(999, [worker(context_length=500), worker()])
    assert not fits(1000, [worker(context_length=500), worker()])
    assert fits(5000, [])
    assert fits(5000, [worker(context_length=0)])


# Who may join


def decide(admission, others, workers, *, plan="free", longest_wait=10.0, tenant="t"):
    line = [*others, Waiting("new", tenant, 0, 1000)]
    return admission.decide(job(tenant=tenant), plan, lambda: longest_wait, line, workers)


def test_a_job_that_can_begin_joins_and_is_told_no_wait():
    assert decide(Admission(100, Forecast()), [], [worker(1)]) == Verdict(True, 0.0)


def test_a_wait_over_the_plans_longest_is_refused_until_it_will_have_run_down():
    verdict = decide(Admission(100, Forecast()), waiting(3, "other"), [worker(1)])
    assert verdict == Verdict(False, 30.0, 30 - 7)


def test_when_to_come_back_is_bounded():
    assert (
        decide(Admission(100, Forecast()), waiting(1, "o"), [worker(1)], longest_wait=9.9).retry_after == SOONEST_RETRY
    )
    assert decide(Admission(1000, Forecast()), waiting(500, "o"), [worker(1)]).retry_after == LATEST_RETRY


def test_a_wait_that_nobody_can_tell_refuses_nobody():
    assert decide(Admission(100, Forecast()), waiting(50, "o"), []) == Verdict(True, None)


def test_a_line_that_is_full_refuses_everyone():
    full = decide(Admission(3, Forecast()), waiting(3, "o"), [], longest_wait=math.inf)
    assert full == Verdict(False, None, SOONEST_RETRY)
    assert decide(Admission(4, Forecast()), waiting(3, "o"), [], longest_wait=math.inf).accepted


def test_a_wait_of_its_own_making_refuses_that_tenant_alone():
    admission = Admission(100, Forecast())
    flood = waiting(3, "flood")
    assert not decide(admission, flood, [worker(1)], tenant="flood").accepted
    assert admission.decide(job(), "free", lambda: 10.0, [Waiting("new", "t", 0, 9), *flood], [worker(1)]).accepted


def test_a_wait_that_others_make_refuses_the_plans_other_tenants_until_it_is_well_below():
    admission, others = Admission(100, Forecast()), waiting(1, "o")
    assert not decide(admission, others, [worker(1)], longest_wait=9.0, tenant="a").accepted
    assert not decide(admission, others, [worker(1, rate=13.0)], longest_wait=9.0, tenant="b").accepted  # 7.7 s
    assert decide(admission, others, [worker(1, rate=13.0)], plan="team", longest_wait=9.0, tenant="c").accepted
    assert decide(admission, others, [worker(1, rate=17.0)], longest_wait=9.0, tenant="d").accepted  # 5.9 s
    assert decide(admission, others, [worker(1, rate=13.0)], longest_wait=9.0, tenant="b").accepted


@given(st.lists(st.floats(REOPEN * 10 + 0.01, 9.99), max_size=50), st.booleans())
def test_between_the_thresholds_nothing_flips(waits, closed):
    admission = Admission(100, Forecast())
    admission.refuses("g", 11.0 if closed else 1.0, 10.0)
    assert all(admission.refuses("g", wait, 10.0) is closed for wait in waits)


@given(st.lists(st.floats(0, 100), max_size=80))
def test_a_plan_is_never_refused_while_a_lower_one_is_let_in(waits):
    admission = Admission(100, Forecast())
    for wait in waits:
        low, middle, high = (admission.refuses(str(limit), wait, limit) for limit in (20.0, 35.0, 60.0))
        assert low >= middle >= high


@given(st.lists(st.floats(0, 30), min_size=1, max_size=80))
def test_every_turn_takes_a_swing_across_both_thresholds(waits):
    admission, turns, before = Admission(100, Forecast()), 0, False
    swings, side = 0, False
    for wait in waits:
        now = admission.refuses("g", wait, 10.0)
        turns, before = turns + (now is not before), now
        if (wait > 10.0 and not side) or (wait < REOPEN * 10.0 and side):
            swings, side = swings + 1, not side
    assert turns == swings
