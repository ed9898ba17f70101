"""What each door says while PostgreSQL is away: 503, when to come back, and in its own shape."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def away(member, client_of, transport):
    """A member's browser; the database does not answer any more."""
    client = client_of(member)
    client.raise_request_exception = False
    connection.close()
    port, connection.settings_dict["PORT"] = connection.settings_dict["PORT"], 9
    yield client
    connection.close()
    connection.settings_dict["PORT"] = port


def test_pages_say_so_in_words(away, member):
    for path in ("/", f"/w/{member.tenant.slug}/chat/", "/settings/", "/admin/"):
        page = away.get(path)
        assert (page.status_code, page.headers["Retry-After"]) == (503, "5"), path
        assert b"Part of the service cannot be reached" in page.content
        assert b"Try again in 5 seconds" in page.content
    login = away.post("/accounts/login/", {"login": "a@example.com", "password": "a quiet green kettle"})
    assert (login.status_code, login.headers["Retry-After"]) == (503, "5")


def test_the_api_says_so_in_json(away, member):
    answer = away.get(f"/api/v1/w/{member.tenant.slug}/conversations/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert (answer.json()["error"]["code"], answer.json()["error"]["retry_after"]) == ("unavailable", 5)


def test_v1_says_so_in_openais_shape(away):
    answer = Client().get("/v1/models", headers={"Authorization": "Bearer sk-x"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "unavailable")


def test_what_does_not_pass_is_a_fault_as_before(member, client_of, transport, monkeypatch):
    def fail(*args):
        raise ValueError("a fault of ours")

    monkeypatch.setattr("chatapp.web.chat_views.page_json", fail)
    client = client_of(member)
    client.raise_request_exception = False
    page = client.get(f"/w/{member.tenant.slug}/chat/")
    assert (page.status_code, "Retry-After" in page.headers) == (500, False)
