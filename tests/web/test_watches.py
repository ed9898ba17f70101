"""What every process looks at for its sockets: whether people may still read, and what the model does."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import timedelta

import pytest
import redis
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Membership, Tenant, User
from chatapp.web import login_watch as login_module
from chatapp.web import model_watch as model_module
from chatapp.web.login_watch import Login, LoginWatch, find_ended
from chatapp.web.model_watch import ModelWatch
from tests.conftest import report_ready
from tests.factories import MembershipFactory
from tests.web.tabs import Tab

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transport", "no_titles")]
PROMISED_SECONDS = 5


def log_out(person: Membership, client: Client) -> None:
    client.post("/accounts/logout/")


def suspend(person: Membership, client: Client) -> None:
    User.objects.filter(pk=person.user_id).update(is_active=False)


def change_password(person: Membership, client: Client) -> None:
    user = User.objects.get(pk=person.user_id)
    user.set_password("another green kettle")
    user.save()


def expire(person: Membership, client: Client) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Session.objects.filter(pk=client.session.session_key).update(expire_date=past)


def delete_person(person: Membership, client: Client) -> None:
    User.objects.get(pk=person.user_id).delete()


def remove(person: Membership, client: Client) -> None:
    Membership.objects.filter(pk=person.pk).delete()


def delete_workspace(person: Membership, client: Client) -> None:
    Tenant.objects.get(pk=person.tenant_id).delete()


def suspend_workspace(person: Membership, client: Client) -> None:
    Tenant.objects.filter(pk=person.tenant_id).update(is_active=False)


def move_elsewhere(person: Membership, client: Client) -> None:
    remove(person, client)
    MembershipFactory(user=person.user)


def require_factor(person: Membership, client: Client) -> None:
    Tenant.objects.filter(pk=person.tenant_id).update(requires_mfa=True)


ENDS = {
    log_out: 4401,
    suspend: 4403,
    change_password: 4409,
    expire: 4401,
    delete_person: 4401,
    remove: 4404,
    delete_workspace: 4404,
    suspend_workspace: 4404,
    move_elsewhere: 4404,
    require_factor: 4410,
}


def _someone():
    person, client = MembershipFactory(), Client()
    client.force_login(person.user)
    return person, client


async def _closed(tab: Tab) -> tuple[int, float]:
    """Close code, and how long it took to come. Frames before it are let through."""
    began = time.monotonic()
    while True:
        frame = await tab._socket.receive_output(timeout=2 * PROMISED_SECONDS)
        if frame["type"] == "websocket.close":
            return frame["code"], time.monotonic() - began


async def test_an_idle_socket_ends_soon_after_whatever_ended_its_login_and_its_neighbour_goes_on(tab):
    people = [await sync_to_async(_someone)() for _ in ENDS]
    tabs = [Tab(person.tenant.slug, client.session.session_key) for person, client in people]
    for opened in tabs:
        await opened.open()
    for act, (person, client) in zip(ENDS, people, strict=True):
        await sync_to_async(act)(person, client)
    closed = await asyncio.gather(*map(_closed, tabs))
    assert [code for code, _ in closed] == list(ENDS.values())
    assert max(seconds for _, seconds in closed) < PROMISED_SECONDS
    await tab.send("ping", ref=1)
    assert (await tab.one("pong"))["ref"] == 1


@pytest.mark.parametrize("act", ENDS)
async def test_a_socket_that_comes_too_late_is_told_the_same(act):
    person, client = await sync_to_async(_someone)()
    tab = Tab(person.tenant.slug, client.session.session_key)
    await sync_to_async(act)(person, client)
    assert await tab.closed_with() == ENDS[act]


@pytest.mark.parametrize("act", ENDS)
async def test_a_request_that_comes_too_late_is_told_the_same(act, monkeypatch):
    monkeypatch.setattr(login_module, "LOOK_SECONDS", 60)
    person, client = await sync_to_async(_someone)()
    tab = Tab(person.tenant.slug, client.session.session_key)
    await tab.open()
    await sync_to_async(act)(person, client)
    await tab.send("open", ref=1, conversation=uuid.uuid4())
    frame = await tab._socket.receive_output(timeout=PROMISED_SECONDS)
    assert frame.get("code") == ENDS[act] or (ENDS[act] == 4404 and '"not_found"' in frame["text"])


async def test_an_answer_that_is_being_read_stops_and_the_next_question_does_not_come(member, tab_of, work):
    person, client = await sync_to_async(_someone)()
    tab, other = Tab(person.tenant.slug, client.session.session_key), await tab_of(person)
    await tab.open()
    await other.open()
    accepted = await tab.ask("First")
    await other.send("open", ref=1, conversation=accepted["conversation"]["id"])
    await other.one("opened")
    job = await work("take")
    await work("start", job)
    await work("write", job, "Once")
    await sync_to_async(log_out)(person, client)
    assert (await _closed(tab))[0] == 4401
    await work("write", job, " upon a time")
    await work("end", job)
    await other.send("subscribe", ref=2, message=accepted["answer"]["id"], generation=accepted["generation"])
    await other.until("end", "resync")
    await other.ask("Second", conversation=accepted["conversation"]["id"])
    assert await tab._socket.receive_nothing(timeout=0.5)


async def test_pings_ask_the_database_nothing(tab, monkeypatch):
    from chatapp.web.consumers import ChatConsumer

    asked = []
    monkeypatch.setattr(ChatConsumer, "_load_membership", asked.append)
    for ref in range(3):
        await tab.send("ping", ref=ref)
        assert (await tab.one("pong"))["ref"] == ref
    assert asked == []


def _logins(count: int) -> list[Login]:
    logins = []
    for _ in range(count):
        person, client = _someone()
        logins.append(Login.of(person, client.session.session_key))
    return logins


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_look_asks_two_questions_for_any_number_of_sockets(count):
    logins = _logins(count) * 2
    with CaptureQueriesContext(connection) as asked:
        assert find_ended(logins) == {}
    assert len(asked) == (2 if count else 0)


def test_someone_in_two_workspaces_loses_the_one_they_were_removed_from():
    person, client = _someone()
    elsewhere = MembershipFactory(user=person.user)
    key = client.session.session_key
    here, there = Login.of(person, key), Login.of(elsewhere, key)
    elsewhere.delete()
    assert find_ended([here, there]) == {there: 4404}


async def test_a_look_that_fails_is_not_the_last(monkeypatch):
    monkeypatch.setattr(login_module, "LOOK_SECONDS", 0.01)
    login, told, answers = Login("s", uuid.uuid4(), "p", "w"), [], [OperationalError("gone"), ValueError("odd")]

    def find(logins):
        if answers:
            raise answers.pop()
        return {login: 4401}

    async def end(code: int) -> None:
        told.append(code)

    monkeypatch.setattr(login_module, "find_ended", find)
    watch = LoginWatch()
    watch.listen(end, login)
    await asyncio.wait_for(watch._task, 2)
    await asyncio.sleep(0)
    assert (told, answers) == ([4401], [])


async def test_the_models_watch_outlives_a_redis_that_refuses_and_tells_what_it_missed(transport, monkeypatch):
    monkeypatch.setattr(model_module, "READY_SECONDS", 0.01)
    monkeypatch.setattr(model_module, "LOADING_SECONDS", 0.01)
    answers = [redis.ResponseError("NOREPLICAS Not enough good replicas to write."), RuntimeError("odd")]
    real, told = model_module.read_stats, asyncio.Queue()

    def read_stats():
        if answers:
            raise answers.pop()
        return real()

    watch = ModelWatch()
    assert (await watch.add(told.put))["name"] == "test"
    monkeypatch.setattr(model_module, "read_stats", read_stats)
    await asyncio.to_thread(report_ready, transport, "w1", "another")
    assert (await asyncio.wait_for(told.get(), 2))["name"] == "another"
    assert answers == []
    watch.remove(told.put)
    await asyncio.wait_for(watch._task, 2)


async def test_a_socket_opens_while_nobody_can_tell_what_the_model_does(member, tab_of, monkeypatch):
    def refuse():
        raise redis.ResponseError("NOREPLICAS Not enough good replicas to write.")

    monkeypatch.setattr(model_module, "read_stats", refuse)
    monkeypatch.setattr(model_module.watch, "model", {"state": "absent"})
    assert (await (await tab_of(member)).open())["type"] == "welcome"


async def test_a_page_that_has_stopped_reading_keeps_no_other_from_hearing(transport, monkeypatch):
    monkeypatch.setattr(model_module, "READY_SECONDS", 0.01)
    watch, told, stuck = ModelWatch(), asyncio.Queue(), asyncio.Event()

    async def never(model) -> None:
        await stuck.wait()

    await watch.add(never)
    await watch.add(told.put)
    for name in ("another", "a third"):
        await asyncio.to_thread(report_ready, transport, "w1", name)
        assert (await asyncio.wait_for(told.get(), 2))["name"] == name
    stuck.set()
    watch.remove(never)
    watch.remove(told.put)
    await asyncio.wait_for(watch._task, 2)
