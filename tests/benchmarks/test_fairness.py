"""The production queue and estimates before a simulated worker, on a clock of its own."""

from __future__ import annotations

import pytest

from benchmarks.crowd import Question, Tenant, jain, within_factor_two
from benchmarks.simulation import simulate

TENANT = Tenant("t")


def question(real, expected, *, told=0.0):
    return Question(TENANT, 0.0, 10, told=told, expected=expected, started=told + real)


def test_jains_index_runs_from_one_over_n_to_one():
    assert jain([3.0, 3.0, 3.0]) == 1.0
    assert jain([5.0, 0.0, 0.0, 0.0]) == 0.25


def test_a_wait_is_held_to_half_and_double_of_what_was_left_of_it():
    told = [(10, 20), (10, 5), (10, 21), (10, 4.9), (0.1, 0.4), (0.1, 2.1)]
    within = [within_factor_two([question(real, expected, told=1.0)]) for real, expected in told]
    assert within == [1, 1, 0, 0, 1, 0]
    assert within_factor_two([question(10, 10), question(10, 40), question(3, None)]) == 0.5


def test_the_same_seed_is_the_same_day():
    first, second = (simulate([Tenant("a", at_once=20)], 30, seed=7) for _ in range(2))
    assert [(q.asked, q.started, q.ended) for q in first.asked.values()] == [
        (q.asked, q.started, q.ended) for q in second.asked.values()
    ]


def test_waits_of_a_burst_of_mixed_tenants_are_told_within_a_factor_of_two():
    before = Tenant("before", at_once=24, ends=60)
    burst = [Tenant(f"b{n}", (1.0, 4.0, 16.0)[n % 3], at_once=4, pause=1e9, begins=90) for n in range(10)]
    questions = simulate([before, *burst], 250).begun(90)
    assert len(questions) == 40
    assert within_factor_two(questions) >= 0.8


def test_waits_in_a_steady_line_are_told_within_a_factor_of_two():
    questions = simulate([Tenant("one", at_once=40, pause=5.0)], 300).begun(60)
    assert len(questions) > 200
    assert within_factor_two(questions) >= 0.9


def test_backlogged_tenants_are_served_by_their_weights():
    tenants = [Tenant(str(weight), weight, at_once=40) for weight in (1.0, 4.0, 16.0)]
    crowd = simulate(tenants, 600, slots=8)
    served = dict.fromkeys((tenant.name for tenant in tenants), 0.0)
    for asked in crowd.asked.values():
        if asked.ended is not None:
            served[asked.tenant.name] += (asked.prompt_tokens + 2 * asked.output_tokens) / asked.tenant.weight
    assert jain(list(served.values())) > 0.98


@pytest.mark.parametrize("flood", [False, True])
def test_a_polite_question_does_not_wait_for_the_answers_of_a_flood(flood):
    polite = Tenant("polite", at_once=1, pause=5.0, begins=30)
    crowd = simulate([polite, *([Tenant("flood", at_once=64)] if flood else [])], 300)
    waits = [question.wait for question in crowd.begun(30, [polite])]
    assert len(waits) > 10
    assert max(waits) < 0.2
