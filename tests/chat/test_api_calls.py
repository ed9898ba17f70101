"""Answers to API calls: reserved, settled and swept like the browser's, with nothing said in the database."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import LedgerEntry, UsageDay
from accounts.scoping import all_tenants, tenant_scope
from chatapp.chat import api_calls
from chatapp.chat.api_calls import settle_call, start_call
from chatapp.chat.models import Generation
from chatapp.chat.sweeping import sweep_generations
from chatapp.common.errors import TooManyAnswers, Unavailable
from chatapp.queue import transport as transport_module
from inference.errors import TransportUnavailable
from inference.messages import ChatMessage, Sampling
from inference.transport import MemoryTransport
from tests.factories import ApiKeyFactory

pytestmark = pytest.mark.django_db

SECRET = "the launch code is 0000"


@pytest.fixture
def key(transport):
    return ApiKeyFactory()


def start(key, **fields):
    asked = (ChatMessage("user", SECRET),)
    with tenant_scope(key.tenant_id):
        (job,) = start_call(key=key, messages=asked, sampling=Sampling(max_tokens=50), model="test", **fields)
    return job


def day():
    return UsageDay.everyone.values_list("reserved", "used").get()


def test_a_call_reserves_its_own_longest_answer_and_pays_for_what_was_written(key, hand):
    job = start(key)
    estimate = len(SECRET) // 2 + 2 * 8  # two messages' markers: the caller's, and the answer's
    assert day() == (estimate + 50, 0)
    hand.answer("no ", "idea")
    settle_call(generation_id=job.id)
    settle_call(generation_id=job.id)
    assert day() == (0, 12)
    entry = LedgerEntry.everyone.get()
    assert (entry.generation_id, entry.user_id) == (UUID(job.id), key.user_id)
    assert (entry.prompt_tokens, entry.output_tokens) == (10, 2)


def test_what_was_said_is_nowhere_in_the_database(key, hand):
    job = start(key)
    hand.answer("no ", "idea")
    settle_call(generation_id=job.id)
    generation = Generation.everyone.get()
    assert (generation.message, generation.api_key_id, generation.state) == (None, key.pk, "done")
    with connection.cursor() as cursor:
        cursor.execute("select row_to_json(g)::text from chat_generation g")
        assert SECRET not in cursor.fetchone()[0]


def test_calls_and_messages_count_together_against_the_plans_answers_at_once(key):
    key.tenant.plan.concurrent_answers = 1
    start(key)
    with pytest.raises(TooManyAnswers):
        start(key)
    assert Generation.everyone.count() == 1


def test_a_queue_that_does_not_take_the_job_leaves_nothing_reserved(key, transport, monkeypatch):
    def refuse(job):
        raise TransportUnavailable

    monkeypatch.setattr(transport, "submit", refuse)
    with pytest.raises(Unavailable) as refused:
        start(key)
    assert refused.value.retry_after == 5
    assert day() == (0, 0)
    assert Generation.everyone.get().state == "failed"


def test_an_outage_between_two_answers_stops_the_one_that_was_taken(key, transport, monkeypatch):
    """Nobody reads it, and its caller was told that nothing was charged."""
    monkeypatch.setattr(api_calls, "RETRY_SECONDS", 0.01)
    taken, submit, cancel, refusals = [], transport.submit, transport.cancel, iter([True, True])
    stopped = threading.Event()

    def submit_once(job):
        if taken:
            raise TransportUnavailable
        taken.append(job)
        submit(job)

    def cancel_later(generation):
        if next(refusals, False):
            raise TransportUnavailable
        cancel(generation)
        stopped.set()

    monkeypatch.setattr(transport, "submit", submit_once)
    monkeypatch.setattr(transport, "cancel", cancel_later)
    with pytest.raises(Unavailable):
        start(key, answers=2)
    assert stopped.wait(10)
    assert transport.stats().waiting == 0
    assert [event.reason for event in transport.log(taken[0].id)] == ["cancelled"]
    assert day() == (0, 0)
    assert set(Generation.everyone.values_list("state", flat=True)) == {"failed"}


def test_several_answers_set_aside_and_pay_for_one_prompt(key, hand):
    asked = (ChatMessage("user", SECRET),)
    with tenant_scope(key.tenant_id):
        jobs = start_call(key=key, messages=asked, sampling=Sampling(max_tokens=50), model="test", answers=3)
    estimate = len(SECRET) // 2 + 2 * 8  # two messages' markers: the caller's, and the answer's
    assert day() == (estimate + 3 * 50, 0)
    for _ in jobs:
        hand.answer("no ", "idea")
    for job in jobs:
        settle_call(generation_id=job.id)
    assert day() == (0, 10 + 3 * 2)
    paid = {
        str(entry.generation_id): (entry.prompt_tokens, entry.output_tokens) for entry in LedgerEntry.everyone.all()
    }
    assert paid == {jobs[0].id: (10, 2), jobs[1].id: (0, 2), jobs[2].id: (0, 2)}
    assert set(Generation.everyone.values_list("prompt_tokens", flat=True)) == {10}, "how each was made is as it was"


def test_the_sweep_settles_a_call_whose_caller_and_process_are_gone(key, hand):
    start(key)
    hand.answer("written ", "for nobody")
    Generation.everyone.update(created_at=timezone.now() - timedelta(minutes=1))
    with all_tenants():
        assert sweep_generations() == {"finished": 1}
    assert day() == (0, 12)


def test_the_sweep_ends_a_call_that_the_transport_has_lost(key):
    start(key)
    Generation.everyone.update(created_at=timezone.now() - timedelta(minutes=1))
    transport_module.install_transport(MemoryTransport())
    with all_tenants():
        assert sweep_generations() == {"interrupted": 1}
    assert (Generation.everyone.get().state, day()) == ("interrupted", (0, 0))


def test_calls_that_share_a_cache_key_are_one_conversation_of_their_tenant(key, hand):
    jobs = [start(key, cache_key="chat-7"), start(key)]
    assert [job.conversation for job in jobs] == [f"{key.tenant_id}:chat-7", ""]
    assert [job.trim for job in jobs] == [False, False]
