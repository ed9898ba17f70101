"""Sending, regenerating, continuing and stopping."""

from __future__ import annotations

import io
import pickle
import threading
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Plan, UsageDay
from accounts.scoping import tenant_scope
from chatapp.chat.answering import finish_generation
from chatapp.chat.asking import continue_answer, regenerate_answer, send_message, stop_answer
from chatapp.chat.models import Conversation, Generation, Message
from chatapp.common.errors import (
    AlreadyAnswering,
    BadRequest,
    MessageTooLong,
    ModelNotFound,
    NotFound,
    NothingToContinue,
    NoWorker,
    QuotaExceeded,
    RateLimited,
    TooManyAnswers,
)
from chatapp.queue import transport as transport_module
from chatapp.web.payloads import thread_json
from inference.messages import Ended
from inference.transport import MemoryTransport

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def scope(member, transport, no_titles):
    with tenant_scope(member.tenant_id):
        yield


@pytest.fixture
def send(member):
    def act(text="Hello", key=None, **fields):
        return send_message(membership=member, text=text, key=key or uuid.uuid4(), **fields)

    return act


def answered(hand, accepted, *pieces, reason="stop"):
    hand.answer(*(pieces or ("An answer.",)), reason=reason)
    finish_generation(generation_id=accepted.generation.pk)
    return Message.objects.get(pk=accepted.answer.pk)


def nothing_written():
    counts = [model.objects.count() for model in (Conversation, Message, Generation)]
    return counts == [0, 0, 0] and sum(UsageDay.objects.values_list("reserved", flat=True)) == 0


def test_a_first_message_begins_a_conversation_and_queues_its_answer(member, send, transport):
    accepted = send("\n Hello\x00 there  ")
    question, answer = Message.objects.order_by("created_at")
    assert (question.text, question.role, question.state, question.parent) == (
        " Hello there",
        "user",
        "done",
        None,
    )
    assert (answer.role, answer.state, answer.text, answer.parent) == ("assistant", "queued", "", question)
    conversation = accepted.conversation
    assert (conversation.title, conversation.leaf_id, conversation.user) == (
        "Hello there",
        answer.pk,
        member.user,
    )
    assert transport.position(str(accepted.generation.pk)).place == 1


def test_the_job_carries_the_plan_the_instructions_and_the_whole_branch(member, send, hand):
    preferences = member.user.preferences
    preferences.style = "In rhyme."
    preferences.save()
    first = send("One")
    answered(hand, first, "Two")
    send("Three", conversation_id=first.conversation.pk)
    job = hand.take()
    assert [(message.role, message.content) for message in job.messages[1:]] == [
        ("user", "One"),
        ("assistant", "Two"),
        ("user", "Three"),
    ]
    assert job.messages[0].content.endswith("How they would like you to answer: In rhyme.")
    assert (job.tenant, job.weight, job.sampling.max_tokens) == (str(member.tenant_id), 1.0, 256)
    assert job.max_prompt_tokens == member.tenant.plan.max_context_tokens


def test_a_job_can_be_read_where_django_has_never_been_heard_of(send, hand):
    """On a laptop it goes to the engine's process as it is."""
    first = send("One")
    answered(hand, first, "Two")
    send("Three", conversation_id=first.conversation.pk)
    needed = set()

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            needed.add(module)
            return super().find_class(module, name)

    job = hand.take()
    assert Reader(io.BytesIO(pickle.dumps(job))).load() == job
    assert needed == {"inference.messages"}


def test_the_same_key_again_gives_the_same_and_writes_nothing(send):
    key = uuid.uuid4()
    first, again = send("Hello", key), send("Hello", key)
    assert (first.generation.pk, first.answer.pk) == (again.generation.pk, again.answer.pk)
    assert (Message.objects.count(), UsageDay.objects.get().requests) == (2, 1)


def test_the_same_key_again_costs_nothing_of_the_minutes_requests(member, send):
    member.tenant.plan.requests_per_minute = 2
    member.tenant.plan.save()
    key = uuid.uuid4()
    for _ in range(4):
        send("Hello", key)
    send("Something else")
    with pytest.raises(RateLimited):
        send("One too many")


def test_the_same_key_from_two_sockets_at_once_is_one_message(member):
    key, results = uuid.uuid4(), []

    def act():
        with tenant_scope(member.tenant_id):
            results.append(send_message(membership=member, text="Hello", key=key).answer.pk)
        connection.close()

    threads = [threading.Thread(target=act) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(results), len(set(results)), Message.objects.count()) == (6, 1, 2)
    assert UsageDay.objects.get().reserved == Generation.objects.get().reserved_tokens


def test_a_second_question_waits_for_the_answer(send):
    first = send()
    with pytest.raises(AlreadyAnswering):
        send("And?", conversation_id=first.conversation.pk)
    assert Message.objects.count() == 2


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("    if x:\n        y()\n", "    if x:\n        y()"),
        ("\n \t\n\r\n  - one\n  - two  \n\n", "  - one\n  - two"),
        ("\tx", "\tx"),
        ("Hi \n\n there", "Hi \n\n there"),
    ],
)
def test_a_message_keeps_its_indentation_and_loses_blank_lines_around_it(send, text, kept):
    assert send(text).user_message.text == kept


@pytest.mark.parametrize("text", ["", "   ", "\x00"])
def test_an_empty_message_is_refused(send, text):
    with pytest.raises(BadRequest):
        send(text)
    assert nothing_written()


def test_a_message_that_is_too_long_says_how_long_it_may_be(send, settings):
    settings.CHATAPP_MAX_MESSAGE_CHARACTERS = 100
    with pytest.raises(MessageTooLong, match=r"100 characters; this one has 101"):
        send("x" * 101)
    assert nothing_written()


def test_without_tokens_left_nothing_is_written(member, send):
    Plan.objects.filter(pk=member.tenant.plan_id).update(tokens_per_day=100)
    member.tenant.plan.refresh_from_db()
    with pytest.raises(QuotaExceeded):
        send()
    assert nothing_written()


def test_beyond_the_plans_answers_at_once_nothing_is_reserved(member, send):
    Plan.objects.filter(pk=member.tenant.plan_id).update(concurrent_answers=1)
    member.tenant.plan.refresh_from_db()
    first = send()
    with pytest.raises(TooManyAnswers):
        send("Another")
    assert UsageDay.objects.get().reserved == first.generation.reserved_tokens
    assert Message.objects.count() == 2


def test_without_a_worker_the_refusal_says_when_to_come_back(send):
    transport_module.install_transport(MemoryTransport())
    with pytest.raises(NoWorker) as refused:
        send()
    assert (refused.value.status, refused.value.retry_after) == (503, 15)
    assert nothing_written()


def test_an_unknown_model_is_refused_but_an_outdated_preference_gives_way(member, send):
    with pytest.raises(ModelNotFound):
        send(model="none-such")
    member.user.preferences.default_model = "retired"
    assert send().generation.model == ""


def test_regenerate_writes_a_sibling_and_shows_it(member, send, hand):
    first = send()
    old = answered(hand, first)
    accepted = regenerate_answer(membership=member, message_id=old.pk, key=uuid.uuid4())
    assert (accepted.answer.parent_id, accepted.answer.pk != old.pk) == (old.parent_id, True)
    assert Conversation.objects.get().leaf_id == accepted.answer.pk
    assert hand.take().messages[-1].content == "Hello"
    assert Message.objects.get(pk=old.pk).text == "An answer."


@pytest.mark.parametrize("reason", ["cancelled", "length", "interrupted", "failed"])
def test_continue_goes_on_after_the_last_character(member, send, hand, reason):
    first = send()
    cut = answered(hand, first, "One, ", "two", reason=reason)
    accepted = continue_answer(membership=member, message_id=cut.pk, key=uuid.uuid4())
    assert accepted.answer.pk == cut.pk
    job = hand.answer(", three.")
    assert job.resume_text == "One, two"
    finish_generation(generation_id=accepted.generation.pk)
    done = Message.objects.get(pk=cut.pk)
    assert (done.text, done.state, done.can_continue) == ("One, two, three.", "done", False)
    assert done.generations.count() == 2


def test_a_complete_answer_has_nothing_to_continue(member, send, hand):
    done = answered(hand, send())
    with pytest.raises(NothingToContinue):
        continue_answer(membership=member, message_id=done.pk, key=uuid.uuid4())


def test_stop_ends_a_waiting_answer_at_once_and_tells_a_running_one(member, send, hand, transport):
    waiting = send()
    stop_answer(membership=member, message_id=waiting.answer.pk)
    assert isinstance(transport.log(str(waiting.generation.pk))[-1], Ended)
    finish_generation(generation_id=waiting.generation.pk)
    running = send("Another")
    hand.take()
    stop_answer(membership=member, message_id=running.answer.pk)
    assert transport.renew("w1").cancelled == {str(running.generation.pk)}


def test_nobody_acts_on_somebody_elses_messages(member, stranger, send, hand):
    answer = answered(hand, send())
    with tenant_scope(stranger.tenant_id):
        for act in (regenerate_answer, continue_answer):
            with pytest.raises(NotFound):
                act(membership=stranger, message_id=answer.pk, key=uuid.uuid4())
        with pytest.raises(NotFound):
            stop_answer(membership=stranger, message_id=answer.pk)
        with pytest.raises(NotFound):
            send_message(membership=stranger, text="Hi", key=uuid.uuid4(), conversation_id=answer.conversation_id)


def test_a_question_goes_below_an_answer_of_its_own_conversation(send, hand):
    first = send("First")
    answered(hand, first)
    second = send("Second")
    answered(hand, second)
    with pytest.raises(BadRequest):
        send("Mixed", conversation_id=first.conversation.pk, parent_id=second.answer.pk)
    with pytest.raises(BadRequest):
        send("Mixed", conversation_id=first.conversation.pk, parent_id=first.user_message.pk)


def test_an_answer_that_was_replied_to_is_not_continued(member, send, hand):
    cut = answered(hand, send(), "One", reason="cancelled")
    later = send("And?", conversation_id=cut.conversation_id)
    answered(hand, later)
    with pytest.raises(NothingToContinue, match="gone on"):
        continue_answer(membership=member, message_id=cut.pk, key=uuid.uuid4())
    assert Conversation.objects.get().leaf_id == later.answer.pk
    shown = thread_json(Conversation.objects.get())
    assert [message["can_continue"] for message in shown] == [False] * 4


def test_a_branch_is_read_from_the_root_to_its_leaf_and_no_other(member, send, hand):
    first = send("One")
    answered(hand, first, "1")
    second = send("Two", conversation_id=first.conversation.pk)
    answered(hand, second, "2")
    other = send("Other", conversation_id=first.conversation.pk, parent_id=first.answer.pk)
    answered(hand, other, "3")
    conversation = Conversation.objects.get(pk=first.conversation.pk)
    shown = [message.text for message in conversation.branch(conversation.leaf_id)]
    assert shown == ["One", "1", "Other", "3"]
    assert [message.text for message in conversation.branch(second.answer.pk)] == ["One", "1", "Two", "2"]
    assert conversation.branch(None) == []


def test_a_leaf_of_another_conversation_has_no_branch_here(send, hand):
    one, other = send("One"), send("Other")
    assert one.conversation.branch(other.answer.pk) == []


def test_a_send_reads_the_texts_of_its_own_branch_alone(member, send, hand):
    first = send("One")
    answered(hand, first, "left behind")
    again = regenerate_answer(membership=member, message_id=first.answer.pk, key=uuid.uuid4())
    answered(hand, again, "gone on from")
    with CaptureQueriesContext(connection) as queries:
        sent = send("Two", conversation_id=first.conversation.pk)
    job = hand.take()
    assert [message.content for message in job.messages][1:] == ["One", "gone on from", "Two"]
    assert len(queries) <= 11
    assert sent.answer.parent_id == sent.user_message.pk
