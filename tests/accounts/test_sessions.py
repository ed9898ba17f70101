"""Where a person is logged in: shown with device and address, ended one by one or all but this one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, User
from accounts.services import create_person
from accounts.sessions import device_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("free_plan")]
PASSWORD = "a quiet green kettle"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36 Edg/140.0"


def make_person(email):
    cache.clear()  # which counts logins, and when a session was seen
    user = User(email=email)
    user.set_password(PASSWORD)
    create_person(user=user, verified=True)
    return email


def log_in(email, agent, address="203.0.113.7"):
    client = Client(headers={"user-agent": agent}, REMOTE_ADDR=address)
    client.post("/accounts/login/", {"login": email, "password": PASSWORD})
    return client


@pytest.fixture
def laptop():
    return log_in(make_person("ana@example.com"), FIREFOX)


@pytest.fixture
def phone(laptop):
    return log_in("ana@example.com", SAFARI, "198.51.100.9")


def number_of(client):
    return UserSession.objects.get(session_key=client.session.session_key).pk


def inside(client):
    return client.get("/settings/").status_code == 200


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        *((FIREFOX, "Firefox on Linux"), (SAFARI, "Safari on iPhone"), (EDGE, "Edge on Windows")),
        *(("curl/8.1", "curl"), ("", "Unknown program"), ("<b>/1", "<b>")),
    ],
)
def test_a_device_has_a_plain_name(agent, device):
    assert device_of(agent) == device


def test_the_page_says_which_and_from_where(laptop, phone):
    page = laptop.get("/accounts/sessions/").content.decode()
    assert "Firefox on Linux · this one" in page
    assert "Safari on iPhone" in page
    assert "203.0.113.7" in page
    assert "198.51.100.9" in page


def test_one_is_ended_and_the_log_knows(laptop, phone):
    tablet = log_in("ana@example.com", SAFARI)
    laptop.post("/accounts/sessions/", {"session": number_of(phone)})
    assert [inside(client) for client in (laptop, phone, tablet)] == [True, False, True]
    assert not Session.objects.filter(pk=phone.session.session_key).exists()
    assert AuditEvent.objects.values_list("act", "after").get() == ("session.ended", {"count": 1})


def test_all_others_are_ended(laptop, phone):
    laptop.post("/accounts/sessions/")
    assert [inside(client) for client in (laptop, phone)] == [True, False]


def test_nobody_ends_anothers_nor_the_one_they_are_in(laptop, phone):
    other = log_in(make_person("bob@example.com"), EDGE)
    for client, number in ((other, number_of(laptop)), (other, ""), (laptop, number_of(laptop))):
        client.post("/accounts/sessions/", {"session": number})
    assert [inside(client) for client in (laptop, phone, other)] == [True, True, True]
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("number", ["x", "-1", "9" * 40, "0", "1.5"])
def test_what_is_no_number_ends_nothing(number, laptop, phone):
    assert laptop.post("/accounts/sessions/", {"session": number}).status_code == 302
    assert inside(phone)


def test_it_is_noted_once_a_minute_when_and_from_where_it_was_last_seen(laptop):
    long_ago = timezone.now() - timedelta(days=1)
    rows = UserSession.objects.filter(pk=number_of(laptop))
    rows.update(last_seen_at=long_ago)
    cache.clear()
    laptop.get("/settings/", REMOTE_ADDR="192.0.2.1")
    row = rows.get()
    assert (row.ip, row.last_seen_at > long_ago) == ("192.0.2.1", True)
    rows.update(last_seen_at=long_ago)
    laptop.get("/settings/")
    assert rows.get().last_seen_at == long_ago
