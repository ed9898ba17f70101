"""Generations whose transport is in Redis, as in production."""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from accounts.scoping import all_tenants, tenant_scope
from chatapp.chat import tasks
from chatapp.chat.asking import send_message
from chatapp.chat.models import Generation, Message
from chatapp.chat.sweeping import RESTORE_SECONDS, SUBMIT_SECONDS, release_recorded, sweep_generations
from chatapp.chat.titles import start_title
from chatapp.queue import transport as transport_module
from chatapp.queue.transport import get_transport
from inference.errors import TransportUnavailable
from inference.messages import Ended, Started, Text
from inference.transport import LocalTransport, RedisTransport
from tests.conftest import report_ready
from tests.hand import HandWorker

pytestmark = pytest.mark.django_db(transaction=True)


class Memory:
    """The keys of one test in the tests' Redis."""

    def __init__(self) -> None:
        self.prefix = f"{{generation-{uuid.uuid4().hex[:8]}}}:"
        self._client = redis.Redis.from_url(os.environ["REDIS_URL"])

    def forget(self) -> None:
        """What a restart without memory does."""
        if keys := self._client.keys(self.prefix + "*"):
            self._client.delete(*keys)

    def seconds_left(self, generation: str) -> int:
        """Until the log of ``generation`` goes."""
        return self._client.ttl(f"{self.prefix}log:{generation}")

    def age(self, seconds: float) -> None:
        self._client.hset(self.prefix + "state", "since", time.time() - seconds)


@pytest.fixture
def memory():
    memory = Memory()
    yield memory
    memory.forget()


@pytest.fixture
def transport(memory):
    transport = RedisTransport(os.environ["REDIS_URL"], prefix=memory.prefix, heartbeat=3600)
    transport_module.install_transport(transport)
    report_ready(transport)
    yield transport
    transport_module._installed.clear()
    transport.close()


@pytest.fixture
def asked(member, transport, no_titles):
    """An accepted message, a minute ago."""
    with tenant_scope(member.tenant_id):
        accepted = send_message(membership=member, text="What is it?", key=uuid.uuid4())
    long_ago = timezone.now() - timedelta(seconds=60)
    Generation.everyone.filter(pk=accepted.generation.pk).update(created_at=long_ago)
    return accepted


def sweep():
    with all_tenants():
        return sweep_generations()


def test_production_has_its_transport_in_redis_and_a_laptop_has_not(settings):
    settings.CHATAPP_REDIS_URL = "redis://nowhere:6379/0"
    assert isinstance(get_transport(), RedisTransport)
    with pytest.raises(TransportUnavailable, match="nowhere:6379"):
        get_transport().stats()
    settings.CHATAPP_REDIS_URL = ""
    assert isinstance(get_transport(), LocalTransport)


def test_an_answer_goes_through_redis_into_the_database(asked, transport):
    HandWorker(transport).answer("Hel", "lo ", "🦊")
    assert sweep() == {"finished": 1}
    assert Message.everyone.get(pk=asked.answer.pk).text == "Hello 🦊"


def test_what_waited_is_queued_again_once_the_workers_have_told_what_they_write(asked, transport, memory):
    memory.forget()
    report_ready(transport)
    assert sweep() == {"forgotten": 1}
    assert transport.stats().waiting == 0
    memory.age(SUBMIT_SECONDS + 1)
    assert sweep() == {"submitted": 1}
    (claim,) = transport.claim("w", 1, 100_000)
    assert (claim.job.id, claim.job.messages[-1].content) == (str(asked.generation.pk), "What is it?")


def test_answers_and_titles_that_waited_are_back_in_line_a_few_seconds_after_redis_is(
    member, asked, transport, memory, monkeypatch
):
    """The sweep comes every 10 s, and by itself once more as soon as the transport's memory is old enough."""
    with tenant_scope(member.tenant_id):
        title = start_title(question=asked.user_message)
    Generation.everyone.update(created_at=timezone.now() - timedelta(seconds=60))
    again = []
    monkeypatch.setattr(tasks.sweep, "apply_async", lambda **options: again.append(options["countdown"]))
    memory.forget()
    report_ready(transport)
    tasks.sweep()
    assert (again, transport.stats().waiting) == ([tasks.AGAIN_SECONDS], 0)
    memory.age(SUBMIT_SECONDS)
    tasks.sweep()
    assert again == [tasks.AGAIN_SECONDS]
    claims = transport.claim("w", 8, 100_000)
    assert [claim.job.id for claim in claims] == [str(asked.generation.pk), str(title.pk)]
    assert 10 + SUBMIT_SECONDS < 15, "what waited is in line again 15 s after the memory was lost, at the latest"


def test_a_job_queued_again_is_taken_back_by_the_worker_that_had_it(asked, transport, memory):
    """Two workers would write it, and only the one that holds it is heard."""
    (claim,) = transport.claim("late", 1, 100_000)
    memory.forget()
    report_ready(transport)
    memory.age(SUBMIT_SECONDS)
    assert sweep() == {"submitted": 1}
    assert transport.restore("late", claim, [])
    assert transport.claim("other", 1, 100_000) == []


def test_an_answer_that_redis_forgot_goes_on_when_its_worker_tells_of_it(asked, transport, memory):
    (claim,) = transport.claim("w1", 1, 100_000)
    events = [Started(1, "w1", "test", "r1", 10), Text(2, "Hello ", (1,))]
    transport.publish("w1", {claim.job.id: events})
    assert sweep() == {"running": 1}
    memory.forget()
    assert sweep() == {"forgotten": 1}
    assert transport.renew("w1").forgotten
    assert transport.restore("w1", claim, events)
    memory.age(RESTORE_SECONDS + 1)
    assert sweep() == {"running": 1}
    hand = HandWorker(transport, _seq={claim.job.id: 2}, _tokens={claim.job.id: 1})
    hand.write(claim.job, "again")
    hand.end(claim.job)
    assert sweep() == {"finished": 1}
    assert Message.everyone.get(pk=asked.answer.pk).text == "Hello again"


def test_a_log_that_is_told_again_after_its_end_was_recorded_goes_within_a_minute(asked, transport, memory):
    """Redis is emptied within the minute in which the worker keeps what has ended; nobody but the sweep releases it."""
    (claim,) = transport.claim("w1", 1, 100_000)
    events = [Started(1, "w1", "test", "r1", 10), Text(2, "Hello", (1,)), Ended(3, "stop", 1)]
    transport.publish("w1", {claim.job.id: events})
    tasks.sweep()
    memory.forget()
    assert transport.restore("w1", claim, events)
    assert memory.seconds_left(claim.job.id) > 3600
    tasks.sweep()
    assert 0 < memory.seconds_left(claim.job.id) <= 60
    assert transport.unreleased() == frozenset()
    assert Message.everyone.get(pk=asked.answer.pk).text == "Hello"


def test_a_log_whose_conversation_is_deleted_goes_and_one_to_be_written_stays(asked, transport, memory, member):
    (claim,) = transport.claim("w1", 1, 100_000)
    events = [Started(1, "w1", "test", "r1", 10), Ended(2, "stop", 0)]
    transport.publish("w1", {claim.job.id: events})
    with all_tenants():
        assert release_recorded() == 0
        assert transport.unreleased() == {claim.job.id}
        Generation.objects.filter(pk=claim.job.id).delete()
        assert release_recorded() == 1
    assert memory.seconds_left(claim.job.id) <= 60
