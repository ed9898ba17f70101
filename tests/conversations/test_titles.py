"""Titles by the model, through the Celery task."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

from accounts.models import UsageDay
from accounts.scoping import tenant_scope
from chatapp.common import transport as transport_module
from chatapp.common.transport import get_transport
from chatapp.conversations import tasks
from chatapp.conversations.models import Conversation
from chatapp.conversations.services import send_message
from chatapp.conversations.tasks import clean_title, title_conversation
from chatapp.generation.models import Generation
from chatapp.generation.services import build_job
from inference.errors import UnknownGeneration
from inference.transport import MemoryTransport
from tests.hand import HandWorker

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
    ],
)
def test_a_title_is_one_clean_line(written, title):
    assert clean_title(written) == title


@pytest.fixture
def asked(member, transport, no_titles):
    with tenant_scope(member.tenant):
        return send_message(membership=member, text="whats the capital of france", key=uuid.uuid4())


@pytest.fixture
def write_title(hand):
    """Answer the title's job from another thread while the task waits for it."""

    def start(*pieces):
        hand.take()  # the answer's own job goes first; titles are batch work

        def run():
            while hand.transport.stats().waiting == 0:
                time.sleep(0.01)
            hand.answer(*pieces)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    return start


def test_the_model_names_the_conversation_and_the_page_is_told(member, asked, write_title, monkeypatch):
    hints = []
    monkeypatch.setattr(tasks, "send_hint", lambda group, event: hints.append((group, event)))
    before = UsageDay.everyone.get().reserved
    thread = write_title("Capital ", "of France.")
    title_conversation(str(member.tenant_id), str(asked.user_message.pk))
    thread.join()
    conversation = Conversation.everyone.get()
    assert (conversation.title, conversation.titled_by_hand) == ("Capital of France", False)
    name = str(conversation.pk)
    event = {"type": "conversation.titled", "conversation": name, "title": "Capital of France"}
    assert hints == [(f"conversation.{name}", event)]
    generation = Generation.everyone.get(kind="title")
    assert (generation.state, generation.output_tokens, generation.reserved_tokens) == ("done", 2, 0)
    assert UsageDay.everyone.get().reserved == before, "a title costs the tenant nothing"


def test_a_title_given_by_hand_stays_and_asks_no_model(member, asked):
    with tenant_scope(member.tenant):
        asked.conversation.rename("Mine", by_hand=True)
    title_conversation(str(member.tenant_id), str(asked.user_message.pk))
    assert (Conversation.everyone.get().title, Generation.everyone.filter(kind="title").count()) == (
        "Mine",
        0,
    )


def test_when_no_title_comes_the_first_words_stay(member, asked, monkeypatch):
    monkeypatch.setattr(tasks, "TITLE_SECONDS", 0.3)
    title_conversation(str(member.tenant_id), str(asked.user_message.pk))
    assert Conversation.everyone.get().title == "whats the capital of france"
    assert Generation.everyone.get(kind="title").state == "stopped"


def test_a_title_is_waited_for_when_the_transport_has_forgotten_its_job(member, asked, hand, monkeypatch):
    """The sweep queues it again; the task that asked for it is still there to use it."""
    real, looks = tasks._look, []

    def look(generation):
        if not looks:
            transport_module.install_transport(MemoryTransport())
            with pytest.raises(UnknownGeneration):
                get_transport().log(str(generation.pk))
        looks.append(real(generation).ended)
        if len(looks) == 2:
            get_transport().submit(build_job(generation))
            HandWorker(get_transport()).answer("Capital of France")
        return real(generation)

    monkeypatch.setattr(tasks, "_look", look)
    title_conversation(str(member.tenant_id), str(asked.user_message.pk))
    assert Conversation.everyone.get().title == "Capital of France"
    assert Generation.everyone.get(kind="title").state == "done"


def test_a_title_whose_job_stays_forgotten_is_left_to_the_sweep(member, asked, monkeypatch):
    monkeypatch.setattr(tasks, "TITLE_SECONDS", 0.2)
    real = tasks.start_title

    def start_and_forget(*, message):
        generation = real(message=message)
        transport_module.install_transport(MemoryTransport())
        return generation

    monkeypatch.setattr(tasks, "start_title", start_and_forget)
    title_conversation(str(member.tenant_id), str(asked.user_message.pk))
    assert Conversation.everyone.get().title == "whats the capital of france"
    assert Generation.everyone.get(kind="title").state == "queued"
