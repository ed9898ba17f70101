"""Generations whose transport is in Redis, as in production."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import LedgerEntry, UsageDay
from accounts.scoping import all_tenants, tenant_scope
from chatapp.chat import tasks
from chatapp.chat.asking import continue_answer, send_message
from chatapp.chat.jobs import rebuild_job
from chatapp.chat.keeping import keep_text, lengthen_answer
from chatapp.chat.models import Generation, KeptText, Message
from chatapp.chat.outcomes import Outcome
from chatapp.chat.sweeping import RESTORE_SECONDS, SUBMIT_SECONDS, release_recorded, sweep_generations
from chatapp.chat.titles import start_title
from chatapp.queue.transport import get_transport
from inference.errors import TransportUnavailable
from inference.messages import Ended, Started, Text
from inference.transport import LocalTransport, RedisTransport
from tests.conftest import report_ready
from tests.hand_worker import HandWorker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def transport(redis_transport):
    return redis_transport


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


READ = Outcome("Hello again, ", Started(1, "w1", "test", "r9", 10, seed=7), None, 3, tokens=4)


def shown(text: str, tokens: int = 1) -> Outcome:
    return replace(READ, text=text, tokens=tokens)


@pytest.fixture
def gone(asked, transport, memory):
    """The generation of an answer that was begun; its worker and its log are gone."""
    (claim,) = transport.claim("w1", 1, 100_000)
    transport.publish("w1", {claim.job.id: [READ.started, Text(2, "Hello ", (1,))]})
    assert sweep() == {"running": 1}
    memory.forget()
    report_ready(transport)
    memory.age(RESTORE_SECONDS + 1)
    return asked.generation.pk


def the_answer(asked):
    message = Message.everyone.get(pk=asked.answer.pk)
    return message.text, message.state, message.can_continue


def test_of_what_readers_were_shown_of_a_lost_answer_the_longest_is_kept(asked, gone, member):
    """Each process with a reader says what it has, in any order, and more than once."""
    for outcome in (shown("Hello ", 1), READ, shown("Hello ag", 2), shown(""), READ):
        keep_text(generation_id=gone, outcome=outcome)
    assert sweep() == {"interrupted": 1}
    assert the_answer(asked) == ("Hello again, ", "interrupted", True)
    generation = Generation.everyone.get(pk=gone)
    assert (generation.prompt_tokens, generation.output_tokens, generation.seed) == (10, 4, 7)
    assert (generation.model_revision, generation.worker) == ("r9", "w1")
    ledger, day = LedgerEntry.everyone.get(), UsageDay.everyone.get()
    assert (ledger.prompt_tokens, ledger.output_tokens, day.used, day.reserved) == (10, 4, 14, 0)
    assert KeptText.everyone.count() == 0


def test_any_number_of_processes_say_it_at_once_and_the_longest_stays(asked, gone):
    together = threading.Barrier(8)

    def say(length):
        together.wait(10)
        keep_text(generation_id=gone, outcome=shown("x" * length, length))
        connection.close()

    threads = [threading.Thread(target=say, args=(length,)) for length in (3, 80, 1, 79, 50, 80, 2, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sweep() == {"interrupted": 1}
    assert the_answer(asked)[0] == "x" * 80


def test_a_process_that_is_later_than_the_end_still_makes_it_longer_and_charges_nothing(asked, gone):
    assert sweep() == {"interrupted": 1}
    keep_text(generation_id=gone, outcome=READ)  # it has ended: nothing is kept for it
    assert (KeptText.everyone.count(), the_answer(asked)[0]) == (0, "")
    for outcome in (READ, shown("Hello ")):
        lengthen_answer(generation_id=gone, outcome=outcome)
    assert the_answer(asked) == ("Hello again, ", "interrupted", True)
    assert LedgerEntry.everyone.count() == 0


def test_an_answer_that_has_gone_on_is_not_made_longer(asked, gone, member, transport):
    assert sweep() == {"interrupted": 1}
    with tenant_scope(member.tenant_id):
        continue_answer(membership=member, message_id=asked.answer.pk, key=uuid.uuid4())
    HandWorker(transport).answer("anew")
    Generation.everyone.filter(finished_at=None).update(created_at=timezone.now() - timedelta(seconds=60))
    assert sweep() == {"finished": 1}
    Message.everyone.filter(pk=asked.answer.pk).update(state="interrupted")
    lengthen_answer(generation_id=gone, outcome=READ)
    assert the_answer(asked)[0] == "anew"


def test_what_was_read_is_not_asked_again_though_nobody_noted_its_start(asked, gone):
    Generation.everyone.update(state="queued")
    keep_text(generation_id=gone, outcome=READ)
    assert sweep() == {"interrupted": 1}
    assert the_answer(asked)[0] == "Hello again, "


def test_what_is_kept_is_forgotten_when_the_log_comes_back_after_all(asked, gone, transport, memory):
    keep_text(generation_id=gone, outcome=shown("Hello "))
    transport.submit(rebuild_job(Generation.everyone.select_related("message", "tenant__plan").get(pk=gone)))
    HandWorker(transport).answer("Hello ", "world")
    assert sweep() == {"finished": 1}
    assert (the_answer(asked)[0], KeptText.everyone.count()) == ("Hello world", 0)


def test_an_end_that_a_replica_had_not_heard_of_is_told_to_it_by_the_sweep(asked, transport, memory):
    """The database has the answer; the line has it running still, and its worker has nothing more to tell."""
    (claim,) = transport.claim("w1", 1, 100_000)
    transport.publish("w1", {claim.job.id: [Started(1, "w1", "test", "r1", 10), Text(2, "Hello ", (1,))]})
    memory.replicate()
    transport.publish("w1", {claim.job.id: [Text(3, "world", (2,)), Ended(4, "stop", 2)]})
    tasks.sweep()
    memory.fail_over()
    assert transport.stats().running == 1
    tasks.sweep()
    assert (transport.stats().running, transport.live(), transport.unreleased()) == (0, frozenset(), frozenset())
    assert transport.renew("w1").lost == {claim.job.id}
    assert 0 < memory.seconds_left(claim.job.id) <= 60
    assert Message.everyone.get(pk=asked.answer.pk).text == "Hello world"


def test_a_stop_of_what_waited_that_a_replica_had_not_heard_of_is_told_to_it(asked, transport, memory):
    memory.replicate()
    transport.cancel(str(asked.generation.pk))
    tasks.sweep()
    memory.fail_over()
    assert transport.stats().waiting == 1
    tasks.sweep()
    assert (transport.stats().waiting, transport.claim("w1", 1, 100_000)) == (0, [])


def test_what_is_being_written_is_left_alone(asked, transport):
    (claim,) = transport.claim("w1", 1, 100_000)
    tasks.sweep()
    assert transport.live() == {claim.job.id}
