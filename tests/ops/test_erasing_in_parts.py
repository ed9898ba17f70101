"""Erasing in the background: what is being written is settled first, and any run may be the last one for now."""

from __future__ import annotations

import threading
import uuid

import pytest
from django.db import connection
from django.test import Client

from accounts.models import Erasure, LedgerEntry, Tenant, UsageDay, User
from accounts.scoping import all_tenants, tenant_scope
from accounts.services import begin_erasing
from chatapp.chat import erasing
from chatapp.chat.asking import send_message
from chatapp.chat.models import Conversation, Generation, Message
from chatapp.chat.purging import purge_conversations
from chatapp.chat.sweeping import sweep_generations
from chatapp.chat.tasks import erase
from inference.errors import TransportUnavailable
from tests.factories import AnswerFactory, ApiKeyFactory, ConversationFactory, GenerationFactory, MembershipFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("free_plan", "no_titles")]


@pytest.fixture
def admin():
    return User.objects.create_superuser("admin@example.com", "a quiet green kettle")


@pytest.fixture
def staff(admin):
    client = Client()
    client.force_login(admin)
    return client


@pytest.fixture
def colleagues():
    """Two people of one workspace."""
    first = MembershipFactory()
    return first, MembershipFactory(tenant=first.tenant, role="member")


def ask(membership):
    with tenant_scope(membership.tenant_id):
        return send_message(membership=membership, text="What is it?", key=uuid.uuid4())


def usage():
    return UsageDay.everyone.values_list("used", "reserved").get()


def chat(membership, answers: int) -> Conversation:
    """A conversation of so many questions and answers."""
    conversation, parent = ConversationFactory(membership=membership), None
    for _ in range(answers):
        parent = AnswerFactory(conversation=conversation, parent__parent=parent)
        GenerationFactory(message=parent)
    return conversation


def erase_person(admin, membership):
    begin_erasing(rows=[membership.user], by=admin)
    erase()


def purge(admin, membership):
    with all_tenants():
        Conversation.objects.filter(user=membership.user).update(deleted_at="2026-01-01T00:00Z")
        purge_conversations(days=1)


@pytest.mark.parametrize("go", [erase_person, purge])
@pytest.mark.parametrize("how_far", ["waiting", "begun", "ended"])
def test_what_is_being_written_for_whom_is_erased_is_settled_and_stopped(
    admin, colleagues, transport, hand, go, how_far
):
    ask(colleagues[1])
    if how_far != "waiting":
        job = hand.take()
        hand.start(job)
        hand.write(job, "one ", "two ")
    if how_far == "ended":
        hand.end(job)
    go(admin, colleagues[1])
    assert usage() == ((0, 0) if how_far == "waiting" else (12, 0))
    paid = LedgerEntry.everyone.values_list("user", "output_tokens")
    whose = None if go is erase_person else colleagues[1].user_id
    assert list(paid) == ([] if how_far == "waiting" else [(whose, 2)])
    assert (transport.live(), transport.unreleased()) == (frozenset(), frozenset())
    assert transport.claim("w1", 8, 100_000) == []
    assert Generation.everyone.count() == Message.everyone.count() == 0


def test_what_is_being_written_in_a_workspace_that_is_erased_is_stopped(admin, colleagues, transport, hand):
    ask(colleagues[0])
    job = hand.take()
    hand.start(job)
    begin_erasing(rows=[colleagues[0].tenant], by=admin)
    erase()
    assert transport.live() == frozenset()
    assert transport.renew("w1").lost == {job.id}
    assert not Tenant.objects.filter(pk=colleagues[0].tenant_id).exists()


def test_a_transport_that_is_away_puts_it_off_and_nothing_is_lost(admin, colleagues, transport, hand, monkeypatch):
    ask(colleagues[1])
    job = hand.take()
    hand.start(job)
    hand.write(job, "one ")

    def away(generation, after_seq=0):
        raise TransportUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(transport, "log", away)
        erase_person(admin, colleagues[1])
    assert Message.everyone.count() == 2
    erase()
    assert (usage(), Message.everyone.count()) == ((11, 0), 0)


def test_whoever_is_erased_is_out_at_once(admin, staff, client_of, transport):
    person = MembershipFactory()
    browser, key = client_of(person), ApiKeyFactory(membership=person)
    workspace = person.tenant.get_absolute_url()
    assert browser.get(workspace).status_code == 200
    staff.post(f"/admin/accounts/user/{person.user_id}/delete/", {"post": "yes"})
    assert User.objects.filter(pk=person.user_id).exists(), "nothing has run in the background yet"
    assert browser.get(workspace).headers["Location"].startswith("/accounts/login/")
    assert not type(key).find(key.secret).member_is_active
    assert not Client().login(username=person.user.email, password="correct horse battery")


def test_a_workspace_that_is_erased_is_shut_at_once(staff, client_of, transport):
    person = MembershipFactory()
    staff.post(f"/admin/accounts/tenant/{person.tenant_id}/delete/", {"post": "yes"})
    browser = client_of(person)
    assert browser.get(person.tenant.get_absolute_url()).status_code == 404
    assert browser.get("/").status_code == 200  # belongs to no workspace
    User.objects.filter(pk=person.user_id, is_active=True).get()


def test_who_is_let_in_again_meanwhile_is_out_again_with_the_next_part(admin, monkeypatch):
    monkeypatch.setattr(erasing, "BATCH", 2)
    person = MembershipFactory()
    chat(person, 4)
    begin_erasing(rows=[person.user], by=admin)
    User.objects.filter(pk=person.user_id).update(is_active=True)
    with all_tenants():
        erasing._erase_some(Erasure.objects.get().pk)
    assert not User.objects.get(pk=person.user_id).is_active


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kind", ["person", "workspace"])
@pytest.mark.parametrize("at", [0, 1, 2, 3, 5, 7])
def test_a_run_that_is_killed_is_gone_on_with_and_the_admin_shows_how_far_it_is(admin, staff, monkeypatch, kind, at):
    monkeypatch.setattr(erasing, "BATCH", 3)
    person, other = MembershipFactory(), MembershipFactory()
    for answers in (1, 5, 2):
        chat(person, answers)
        LedgerEntry.everyone.create(
            **{"tenant": person.tenant, "user": person.user, "generation_id": uuid.uuid4(), "model": "m"},
            **{"prompt_tokens": 1, "output_tokens": 1, "day": "2026-11-01"},
        )
    chat(other, 2)
    begin_erasing(rows=[person.user if kind == "person" else person.tenant], by=admin)
    whole, calls = erasing._erase_batch, []

    def kill_at(erasure):
        some = whole(erasure)
        calls.append(some)
        if len(calls) == at + 1:
            raise Killed  # with the batch done and not yet committed
        return some

    monkeypatch.setattr(erasing, "_erase_batch", kill_at)
    with pytest.raises(Killed):
        erase()
    monkeypatch.setattr(erasing, "_erase_batch", whole)
    erasure = Erasure.objects.get()
    assert (erasure.erased, erasure.ended_at) == (sum(calls[:at]), None)
    total = 16 + 3 + 3  # messages, conversations, the ledger
    left = Message.everyone.exclude(conversation__user=other.user).count()
    assert left <= 16
    page = staff.get("/admin/accounts/erasure/").content.decode()
    assert f">{min(99, 100 * sum(calls[:at]) // total)} %<" in page
    erase()
    erasure.refresh_from_db()
    assert (erasure.erased, erasure.rows, erasure.percent) == (total, total, 100)
    assert str(erasure) == "(erased)"
    assert Message.everyone.count() == 4
    assert LedgerEntry.everyone.count() == (3 if kind == "person" else 0)
    assert not LedgerEntry.everyone.filter(user=person.user_id).exists()
    assert ">100 %<" in staff.get("/admin/accounts/erasure/").content.decode()
    erase()
    assert (Erasure.objects.count(), Message.everyone.count()) == (1, 4)


def test_any_number_of_processes_erase_at_once(admin, monkeypatch):
    monkeypatch.setattr(erasing, "BATCH", 5)
    people = [MembershipFactory() for _ in range(3)]
    for person in people:
        for answers in (3, 4, 9):
            chat(person, answers)
    begin_erasing(rows=[person.user for person in people], by=admin)
    together, failed = threading.Barrier(4), []

    def run():
        together.wait(10)
        try:
            with all_tenants():
                erasing.go_on_erasing()
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with all_tenants():
        erasing.go_on_erasing()
    assert User.objects.count() == 1
    assert Message.everyone.count() == Conversation.everyone.count() == 0
    assert list(Erasure.objects.values_list("erased", flat=True)) == [32 + 3] * 3


def test_asking_twice_is_asking_once(admin, staff):
    person = MembershipFactory()
    for _ in range(2):
        staff.post(f"/admin/accounts/user/{person.user_id}/delete/", {"post": "yes"})
    assert Erasure.objects.count() == 1


def test_nothing_of_it_is_found_by_the_sweep(admin, colleagues, transport, hand):
    ask(colleagues[1])
    erase_person(admin, colleagues[1])
    with all_tenants():
        assert sweep_generations() == {}
