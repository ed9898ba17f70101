"""A generation from send to settlement, and what the sweep finds."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import LedgerEntry, UsageDay
from accounts.scoping import all_tenants, tenant_scope
from chatapp.chat import prompts, sweeping
from chatapp.chat.answering import finish_generation, mark_started
from chatapp.chat.asking import send_message
from chatapp.chat.models import Generation, Message
from chatapp.chat.sweeping import sweep_generations
from chatapp.queue import transport as transport_module
from inference.errors import UnknownGeneration
from inference.messages import Started
from inference.transport import MemoryTransport
from tests.conftest import report_ready

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ask(member, transport, no_titles):
    """``ask(text)``: send a message as ``member``."""

    def send(text="What is it?", **fields):
        with tenant_scope(member.tenant_id):
            return send_message(membership=member, text=text, key=uuid.uuid4(), **fields)

    return send


def usage(member):
    row = UsageDay.everyone.get(tenant=member.tenant)
    return row.used, row.reserved


def the(model, row):
    return model.everyone.get(pk=row.pk)


def test_a_finished_answer_is_written_explained_and_settled(member, ask, hand):
    accepted = ask()
    generation_id = accepted.generation.pk
    assert usage(member)[1] == accepted.generation.reserved_tokens > 256
    hand.answer("Hel", "lo ", "🦊")
    assert finish_generation(generation_id=generation_id).message.text

    answer, generation = the(Message, accepted.answer), the(Generation, accepted.generation)
    assert (answer.text, answer.state, answer.model, answer.can_continue) == (
        "Hello 🦊",
        "done",
        "test",
        False,
    )
    assert (generation.state, generation.finish_reason, generation.output_tokens) == ("done", "stop", 3)
    assert (generation.prompt_tokens, generation.seed, generation.model_revision) == (10, 7, "r1")
    assert (generation.queue_ms, generation.prefill_ms, generation.decode_ms) == (250, 10, 500)
    assert generation.prompt_version == prompts.VERSION
    assert usage(member) == (13, 0)
    entry = LedgerEntry.everyone.get()
    assert (entry.prompt_tokens, entry.output_tokens, entry.generation_id) == (10, 3, generation_id)


def test_a_prompt_whose_length_was_known_at_the_end_only_is_charged_by_that(member, ask, hand):
    accepted = ask()
    job = hand.take()
    hand.start(job, prompt_tokens=40)
    hand.write(job, "Hello")
    hand.end(job, prompt_tokens=12)
    finish_generation(generation_id=accepted.generation.pk)
    assert the(Generation, accepted.generation).prompt_tokens == 12
    assert usage(member) == (13, 0)


def test_finishing_again_changes_nothing(member, ask, hand):
    accepted = ask()
    hand.answer("a")
    done = [finish_generation(generation_id=accepted.generation.pk) for _ in range(3)]
    assert done == [accepted.generation, None, None]
    assert usage(member) == (11, 0)
    assert LedgerEntry.everyone.count() == 1


def test_of_many_who_finish_at_once_one_does(member, ask, hand):
    accepted = ask()
    hand.answer("a", "b")
    done = []

    def finish():
        done.append(finish_generation(generation_id=accepted.generation.pk))
        connection.close()

    threads = [threading.Thread(target=finish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(map(bool, done)), usage(member), LedgerEntry.everyone.count()) == (1, (12, 0), 1)


def test_a_start_that_is_told_while_the_end_is_written_does_not_undo_it(ask):
    accepted = ask()

    def tell() -> None:
        mark_started(generation_id=accepted.generation.pk, started=Started(1, "w1", "test", "r1", 10))
        connection.close()

    late = threading.Thread(target=tell)
    with transaction.atomic():
        accepted.answer.end(state="done", text="All of it", model="test", can_continue=False)
        late.start()
        late.join(0.5)
        assert late.is_alive()  # it waits for the row
    late.join()
    assert the(Message, accepted.answer).state == "done"


def test_an_answer_still_being_written_is_not_finished(ask, hand):
    accepted = ask()
    job = hand.take()
    hand.start(job)
    hand.write(job, "half")
    assert finish_generation(generation_id=accepted.generation.pk) is None
    assert the(Message, accepted.answer).text == ""


@pytest.mark.parametrize(
    ("reason", "state", "can_continue"),
    [
        ("stop", "done", False),
        ("length", "done", True),
        ("cancelled", "stopped", True),
        ("failed", "failed", True),
    ],
)
def test_every_end_keeps_what_was_written_and_charges_it(member, ask, hand, reason, state, can_continue):
    accepted = ask()
    hand.answer("a", "b", reason=reason)
    finish_generation(generation_id=accepted.generation.pk)
    answer = the(Message, accepted.answer)
    assert (answer.state, answer.text, answer.can_continue) == (state, "ab", can_continue)
    assert usage(member) == (12, 0)


def test_a_job_stopped_before_it_began_costs_nothing(member, ask, transport):
    accepted = ask()
    transport.cancel(str(accepted.generation.pk))
    finish_generation(generation_id=accepted.generation.pk)
    assert usage(member) == (0, 0)
    assert LedgerEntry.everyone.count() == 0
    assert the(Message, accepted.answer).state == "stopped"


def age(generation, seconds=60):
    Generation.everyone.filter(pk=generation.pk).update(created_at=timezone.now() - timedelta(seconds=seconds))


def sweep():
    with all_tenants():
        return sweep_generations()


def test_the_sweep_finishes_what_nobody_watched(member, ask, hand):
    accepted = ask()
    hand.answer("unseen")
    age(accepted.generation)
    assert sweep() == {"finished": 1}
    assert the(Message, accepted.answer).text == "unseen"
    assert sweep() == {}


def test_the_sweep_leaves_the_young_alone_and_marks_the_running(ask, hand):
    young = ask()
    assert sweep() == {}
    age(young.generation)
    hand.start(hand.take())
    assert sweep() == {"running": 1}
    assert the(Generation, young.generation).state == "running"
    assert the(Message, young.answer).state == "streaming"


def test_a_waiting_job_the_transport_lost_is_submitted_again(ask, transport):
    accepted = ask("What is lost?")
    lost = MemoryTransport()
    transport_module.install_transport(lost)
    age(accepted.generation)
    assert sweep() == {"submitted": 1}
    (claim,) = lost.claim("w", 1, 10_000)
    assert (claim.job.id, claim.job.messages[-1].content) == (str(accepted.generation.pk), "What is lost?")


def test_a_running_job_the_transport_lost_is_interrupted_and_refunded(member, ask, hand):
    accepted = ask()
    hand.start(hand.take())
    age(accepted.generation)
    sweep()
    transport_module.install_transport(MemoryTransport())
    assert sweep() == {"interrupted": 1}
    answer = the(Message, accepted.answer)
    assert (answer.state, answer.can_continue, usage(member)) == ("interrupted", True, (0, 0))


def test_after_three_submissions_a_lost_job_is_given_up(ask, member):
    accepted = ask()
    age(accepted.generation)
    results = []
    for _ in range(4):
        transport_module.install_transport(MemoryTransport())
        results.append(sweep())
    assert results == [{"submitted": 1}, {"submitted": 1}, {"interrupted": 1}, {}]


def test_a_log_the_transport_has_forgotten_cannot_be_finished_from(transport, ask):
    accepted = ask()
    fresh = MemoryTransport()
    report_ready(fresh)
    transport_module.install_transport(fresh)
    with pytest.raises(UnknownGeneration):
        finish_generation(generation_id=accepted.generation.pk)


def test_one_row_that_cannot_be_swept_does_not_keep_the_others_waiting(member, ask, hand, monkeypatch):
    first, second = ask("First"), ask("Second")
    hand.answer("one")
    hand.answer("two")
    for accepted in (first, second):
        age(accepted.generation)
    real = sweeping.finish_generation

    def broken(*, generation_id):
        if generation_id == first.generation.pk:
            raise ValueError("a row like no other")
        return real(generation_id=generation_id)

    monkeypatch.setattr(sweeping, "finish_generation", broken)
    assert sweep() == {"broken": 1, "finished": 1}
    assert the(Message, second.answer).text == "two"
