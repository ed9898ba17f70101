"""Titles by the model: asked for by a task, filed by whoever sees that they are written."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import UsageDay
from accounts.scoping import all_tenants, tenant_scope
from chatapp.chat import tasks, titles
from chatapp.chat.asking import send_message
from chatapp.chat.jobs import THINKING_TOKENS, TITLE_TOKENS, rebuild_job
from chatapp.chat.models import Conversation, Generation
from chatapp.chat.sweeping import sweep_generations
from chatapp.chat.tasks import collect_title, title_conversation
from chatapp.chat.titles import clean_title
from chatapp.queue import transport as transport_module
from chatapp.queue.transport import get_transport
from inference.messages import WorkerReport
from inference.transport import MemoryTransport
from tests.conftest import report_ready
from tests.hand_worker import HandWorker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("Capital of France", "Capital of France"),
        (' "Trip to Rome."\nAnd more', "Trip to Rome"),
        ("# **A plan**", "A plan"),
        ("\n\n", ""),
        ("I do not know that. Set a real model", ""),
        ("a " * 11, ""),
        ("x" * 200, "x" * 80),
        ("Sure! Here is a title:\nTrip to Rome", "Trip to Rome"),
        ("Sure! Here is a title:", ""),
        ("Sure, here's a short title: “Trip to Rome”", "Trip to Rome"),
        ("Certainly! Trip to Rome", "Trip to Rome"),
        ("Okay Computer", "Okay Computer"),
        ("Title: Trip to Rome", "Trip to Rome"),
        ("**Title:** *Trip to Rome*", "Trip to Rome"),
        ("Suggested title: 'Trip to Rome'.", "Trip to Rome"),
        ("Titel: „Reise nach Rom“", "Reise nach Rom"),
        ("„Reise nach Rom“", "Reise nach Rom"),
        ("« Voyage à Rome »", "Voyage à Rome"),
        ("「ローマへの旅」", "ローマへの旅"),
        ("标题：《罗马之旅》", "罗马之旅"),
        ('"Trip to Rome', "Trip to Rome"),
        ('"Big" and "small"', '"Big" and "small"'),
        ("Titles: how to find one", "Titles: how to find one"),
        ("Trip\u202e to\u200b Ro\x07me\u2069", "Trip to Rome"),
        ("\u202eTitle: Trip to Rome", "Trip to Rome"),
        ("\u202e\u2066", ""),
        ("Family 👨\u200d👩\u200d👧 trip", "Family 👨\u200d👩\u200d👧 trip"),
        ("<think>\nThe user wants", ""),
        ("<think>Hm.</think>\n\nTrip to Rome", "Trip to Rome"),
        ("They want a title.\n</think>\n\nTrip to Rome", "Trip to Rome"),
        ("[THINK]Hm.[/THINK]Trip to Rome", "Trip to Rome"),
    ],
)
def test_a_title_is_one_clean_line(written, title):
    assert clean_title(written) == title


FIRST_WORDS = "whats the capital of france"


@pytest.fixture
def asked(member, transport, no_titles):
    with tenant_scope(member.tenant_id):
        return send_message(membership=member, text=FIRST_WORDS, key=uuid.uuid4())


@pytest.fixture
def looks(monkeypatch):
    """When the task wants to look again, in seconds; nobody does until the test calls ``look``."""
    planned = []
    monkeypatch.setattr(collect_title, "apply_async", lambda arguments, countdown: planned.append(countdown))
    return planned


@pytest.fixture
def ask_title(member, asked, looks, hand):
    """The title's job is in line, and next to go: the answer's own was taken before."""

    def ask():
        hand.take()
        title_conversation(str(member.tenant_id), str(asked.user_message.pk))
        return Generation.everyone.get(kind="title")

    return ask


def look(generation, number=0):
    """What a worker of Celery does when the time has come."""
    collect_title(str(generation.tenant_id), str(generation.pk), number)


def test_the_model_names_the_conversation_and_the_page_is_told(ask_title, looks, hand, monkeypatch):
    hints = []
    monkeypatch.setattr(titles, "send_hint", lambda group, event: hints.append((group, event)))
    before = UsageDay.everyone.get().reserved
    generation = ask_title()
    assert looks == [tasks.LOOKS[0]], "the thread is not held while the model writes"
    hand.answer("Capital ", "of France.")
    look(generation)
    conversation = Conversation.everyone.get()
    assert (conversation.title, conversation.titled_by_hand) == ("Capital of France", False)
    name = str(conversation.pk)
    event = {"type": "conversation.titled", "conversation": name, "title": "Capital of France"}
    assert hints == [(f"conversation.{name}", event)]
    generation.refresh_from_db()
    assert (generation.state, generation.output_tokens, generation.reserved_tokens) == ("done", 2, 0)
    assert UsageDay.everyone.get().reserved == before, "a title costs the tenant nothing"


def test_whoever_sees_the_end_first_files_the_title(ask_title, looks, hand):
    generation = ask_title()
    hand.answer("Capital of France")
    Generation.everyone.filter(pk=generation.pk).update(created_at=generation.created_at - timedelta(minutes=1))
    with all_tenants():
        assert sweep_generations()["finished"] == 1
    assert Conversation.everyone.get().title == "Capital of France"
    looks.clear()
    look(generation)
    assert looks == []


def test_a_title_that_was_asked_for_is_not_asked_for_again(member, ask_title, asked):
    ask_title()
    title_conversation(str(member.tenant_id), str(asked.user_message.pk))
    assert Generation.everyone.filter(kind="title").count() == 1


def test_a_title_given_by_hand_stays_and_asks_no_model(member, asked, looks):
    with tenant_scope(member.tenant_id):
        asked.conversation.rename("Mine", by_hand=True)
    title_conversation(str(member.tenant_id), str(asked.user_message.pk))
    assert Conversation.everyone.get().title == "Mine"
    assert (Generation.everyone.filter(kind="title").count(), looks) == (0, [])


@pytest.mark.parametrize(("others", "asks"), [((), 0), ((134_515_008,), 0), ((7_000_000_000,), 1), ((0,), 1)])
def test_small_models_alone_are_asked_for_no_title_and_the_first_words_stay(member, asked, looks, others, asks):
    """They would answer the question; ``others`` are the sizes of the other workers' models, 0 unknown."""
    for number, parameters in enumerate((134_515_008, *others), 1):
        report = WorkerReport(f"w{number}", "ready", "m", parameters=parameters, at=time.time())
        get_transport().renew(f"w{number}", report)
    before = Conversation.everyone.get().title
    title_conversation(str(member.tenant_id), str(asked.user_message.pk))
    assert Generation.everyone.filter(kind="title").count() == len(looks) == asks
    assert Conversation.everyone.get().title == before


def test_a_name_given_while_the_title_is_written_stays(member, asked, ask_title, hand):
    generation = ask_title()
    with tenant_scope(member.tenant_id):
        asked.conversation.rename("Mine", by_hand=True)
    hand.answer("Capital of France")
    look(generation)
    assert Conversation.everyone.get().title == "Mine"


def test_what_the_model_thought_is_no_title(ask_title, hand):
    generation = ask_title()
    think_without_end(hand)
    look(generation)
    assert Conversation.everyone.get().title == FIRST_WORDS


def think_without_end(hand):
    job = hand.take()
    hand.start(job)
    hand.think(job, "The user wants the capital")
    hand.end(job, "length")
    return job


def test_a_model_that_thinks_is_asked_once_more_with_room_for_it(ask_title, looks, hand):
    generation = ask_title()
    first = think_without_end(hand)
    looks.clear()
    look(generation)
    assert len(looks) == 1, "it is looked for further"
    second = hand.take()
    assert (first.sampling.max_tokens, second.sampling.max_tokens) == (TITLE_TOKENS, THINKING_TOKENS)
    assert (second.band, second.messages) == (first.band, first.messages)
    hand.start(second)
    hand.think(second, "The user wants the capital of France named.")
    hand.write(second, "Capital of France")
    hand.end(second)
    look(generation, 1)
    assert Conversation.everyone.get().title == "Capital of France"
    assert UsageDay.everyone.get().used == 0


def test_a_model_that_thinks_without_end_is_asked_no_third_time(ask_title, looks, hand):
    generation = ask_title()
    for number in range(2):
        think_without_end(hand)
        look(generation, number)
    assert get_transport().stats().waiting == 0
    assert list(Generation.everyone.filter(kind="title").values_list("finish_reason", flat=True)) == ["length"] * 2
    assert Conversation.everyone.get().title == FIRST_WORDS


@pytest.mark.parametrize(
    ("pieces", "reason"), [(["A long answer that is no", " title. It goes on"], "length"), ([], "stop")]
)
def test_a_model_that_does_not_think_is_asked_once(ask_title, hand, pieces, reason):
    generation = ask_title()
    hand.answer(*pieces, reason=reason)
    look(generation)
    assert get_transport().stats().waiting == 0


def test_the_room_to_think_outlasts_a_queue_that_forgets_and_whoever_sees_the_end(ask_title, hand):
    ask_title()
    think_without_end(hand)
    Generation.everyone.update(created_at=timezone.now() - timedelta(minutes=1))
    with all_tenants():
        assert sweep_generations()["finished"] == 1
        second = Generation.objects.unfinished().get(kind="title")
        assert rebuild_job(second).sampling.max_tokens == THINKING_TOKENS


def test_a_second_title_is_given_up_with_the_last_look(ask_title, looks, hand):
    generation = ask_title()
    think_without_end(hand)
    for number in range(len(tasks.LOOKS)):
        look(generation, number)
    assert get_transport().stats().waiting == 0


def test_a_name_that_is_given_while_the_model_thinks_asks_it_no_more(member, asked, ask_title, hand):
    generation = ask_title()
    with tenant_scope(member.tenant_id):
        asked.conversation.rename("Mine", by_hand=True)
    think_without_end(hand)
    look(generation)
    assert get_transport().stats().waiting == 0


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_name_changes_nothing_but_itself(member, asked, by_hand):
    with tenant_scope(member.tenant_id):
        asked.conversation.rename(" \u202eMine\n\x00 and\u2067 yours ", by_hand=by_hand)
    assert Conversation.everyone.get().title == "Mine and yours"


def test_when_no_title_comes_the_first_words_stay_and_the_job_is_taken_back(ask_title, looks):
    generation = ask_title()
    for number in range(len(tasks.LOOKS)):
        assert get_transport().stats().waiting == 1
        look(generation, number)
    assert looks == list(tasks.LOOKS)
    assert Conversation.everyone.get().title == FIRST_WORDS
    assert get_transport().stats().waiting == 0
    Generation.everyone.filter(pk=generation.pk).update(created_at=generation.created_at - timedelta(minutes=1))
    with all_tenants():
        assert sweep_generations()["finished"] == 1
    assert Generation.everyone.get(pk=generation.pk).state == "stopped"


def test_a_title_whose_job_was_forgotten_is_filed_once_the_sweep_has_queued_it_again(ask_title):
    generation = ask_title()
    memory = MemoryTransport(heartbeat=3600)
    transport_module.install_transport(memory)
    report_ready(memory)
    look(generation)
    assert Generation.everyone.get(pk=generation.pk).state == "queued"
    with all_tenants():
        memory.submit(rebuild_job(Generation.objects.get(pk=generation.pk)))
    HandWorker(memory).answer("Capital of France")
    look(generation)
    assert Conversation.everyone.get().title == "Capital of France"
    assert Generation.everyone.get(pk=generation.pk).state == "done"


def test_a_deleted_conversation_has_no_title_to_look_for(ask_title, looks):
    generation = ask_title()
    looks.clear()
    Conversation.everyone.all().delete()
    look(generation)
    assert looks == []
