"""Jobs as every door makes them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from accounts.models import Plan
from chatapp.queue.jobs import estimate_tokens, longest_bill, make_job
from inference.messages import ChatMessage, Sampling

PLAN = Plan(max_context_tokens=1000, weight=3)
MESSAGES = (ChatMessage("user", "a" * 100),)
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def make(**fields):
    names = {"generation_id": uuid.UUID(int=1), "tenant_id": uuid.UUID(int=2), "plan": PLAN, "model": "m"}
    return make_job(
        **names | {"messages": MESSAGES, "sampling": Sampling(max_tokens=64), "submitted_at": NOON} | fields
    )


def test_the_estimate_counts_bytes_and_errs_high():
    assert estimate_tokens([ChatMessage("user", "a" * 100)]) == 58
    assert estimate_tokens([ChatMessage("user", "語" * 100), ChatMessage("user", "")]) == 150 + 8 + 8


def test_a_job_has_the_limits_and_the_weight_of_its_plan():
    job = make()
    assert (job.id, job.tenant, job.weight) == (str(uuid.UUID(int=1)), str(uuid.UUID(int=2)), 3.0)
    assert (job.max_prompt_tokens, job.submitted_at) == (1000, NOON.timestamp())


def test_what_is_set_aside_is_the_prompt_what_it_goes_on_from_and_the_longest_answer():
    assert longest_bill(make()) == 58 + 8 + 64
    assert longest_bill(make(resume_text="b" * 20)) == 58 + 18 + 64


def test_no_prompt_is_estimated_over_the_context_of_its_plan():
    job = make(messages=(ChatMessage("user", "a" * 10_000),))
    assert (job.prompt_tokens, longest_bill(job)) == (1000, 1064)
