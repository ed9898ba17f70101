"""The virtual token counter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.line.fairness import FairQueue, places, spare_slots
from inference.messages import BATCH, Job, Sampling


def job(job_id, tenant, prompt_tokens=10, weight=1.0, band=0, at=0.0):
    return Job(job_id, tenant, "m", (), Sampling(8), prompt_tokens, weight=weight, band=band, submitted_at=at)


def drain(queue, *, output_tokens=0):
    order = []
    while (next_job := queue.pop()) is not None:
        queue.charge(next_job, output_tokens=output_tokens)
        order.append(next_job.id)
    return order


def test_a_job_that_does_not_fit_holds_the_line():
    queue = FairQueue()
    queue.push(job("large", "a", prompt_tokens=100))
    queue.push(job("small", "a", prompt_tokens=1))
    assert queue.pop(room=50) is None
    assert len(queue) == 2


def test_three_for_every_eight_slots_are_spare_and_for_one_none():
    assert [spare_slots(slots) for slots in (1, 2, 4, 8, 16, 64)] == [0, 1, 2, 3, 6, 24]


def test_a_flooding_tenant_waits_behind_a_polite_one():
    queue = FairQueue()
    for n in range(5):
        queue.push(job(f"flood{n}", "flood", at=n))
    queue.push(job("polite", "polite", at=9))
    assert drain(queue).index("polite") == 1


def test_a_tenant_back_from_idle_is_lifted_and_gets_no_credit_for_its_absence():
    queue = FairQueue()
    queue.push(job("a0", "a"))
    queue.push(job("b0", "b"))
    assert len(drain(queue, output_tokens=500)) == 2
    for n in range(10):
        queue.push(job(f"a{n}", "a", at=n))
    drain(queue, output_tokens=500)
    for n in range(3):
        queue.push(job(f"x{n}", "a", at=n))
        queue.push(job(f"y{n}", "b", at=n))
    assert [name[0] for name in drain(queue, output_tokens=500)].count("y") == 3
    assert abs(queue.counter("a") - queue.counter("b")) <= 1010 + 10


@pytest.mark.parametrize("output_tokens", [0, 30])
def test_weights_of_one_to_four_give_shares_of_one_to_four(output_tokens):
    queue = FairQueue()
    for n in range(1_000):
        queue.push(job(f"light{n}", "light", weight=1.0, at=n))
        queue.push(job(f"heavy{n}", "heavy", weight=4.0, at=n))
    served = []
    for _ in range(1_000):
        served.append(queue.pop())
        queue.charge(served[-1], output_tokens=output_tokens)
    heavy = sum(item.tenant == "heavy" for item in served)
    assert heavy == pytest.approx(800, rel=0.05)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 200), st.sampled_from([1.0, 4.0]), st.booleans()),
        max_size=30,
    )
)
def test_the_place_told_is_the_order_in_which_jobs_go(items):
    queue = FairQueue()
    for n, (tenant, prompt, weight, batch) in enumerate(items):
        queue.push(job(str(n), tenant, prompt, weight, BATCH if batch else 0, at=n))
    told = places(queue.line())
    promised = sorted((str(n) for n in range(len(items))), key=lambda name: told[name].place)
    assert drain(queue) == promised


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 200)), min_size=40, max_size=40))
def test_two_backlogged_tenants_differ_by_at_most_twice_the_largest_job(sizes):
    queue = FairQueue()
    for n, (prompt, _) in enumerate(sizes):
        queue.push(job(f"{n}", "ab"[n % 2], prompt, at=n))
    largest = max(prompt + 2 * output for prompt, output in sizes)
    served = {"a": 0.0, "b": 0.0}
    while all(any(waiting.tenant == tenant for waiting in queue._jobs()) for tenant in "ab"):
        item = queue.pop()
        output = sizes[int(item.id)][1]
        queue.charge(item, output_tokens=output)
        served[item.tenant] += item.prompt_tokens + 2 * output
        assert abs(served["a"] - served["b"]) <= 2 * largest
