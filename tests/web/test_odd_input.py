"""What nobody types and somebody sends: every address answers it with a page or an error that says what is wrong."""

from __future__ import annotations

import pytest
from channels.testing import WebsocketCommunicator
from django.test import Client, RequestFactory

from chatapp.asgi import application
from chatapp.web import error_responses
from tests.factories import ConversationFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("transport")]

COOKIE = 'sessionid="aaaaaaaaaaaa\\000b"'  # an octal escape, which Python's cookies turn into U+0000


@pytest.fixture
def client(member, client_of):
    return client_of(member)


@pytest.fixture
def base(member):
    return f"/api/v1/w/{member.tenant.slug}/conversations/"


@pytest.mark.parametrize("query", ["q=a%00b", "before=%00", "other=%00", "%00=a"])
def test_nul_in_an_api_address_is_a_bad_request(client, base, query):
    response = client.get(f"{base}?{query}")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "address", ["/settings/usage/?workspace=%00", "/w/{slug}/reports/?model=a%00b", "/%00", "/w/{slug}/chat/?a=%00"]
)
def test_nul_in_a_pages_address_is_a_page_that_says_so(client, member, address):
    response = client.get(address.format(slug=member.tenant.slug))
    assert (response.status_code, response["Content-Type"].split(";")[0]) == (400, "text/html")
    assert "This request could not be read" in response.content.decode()


def test_an_escaped_percent_sign_is_not_nul(client, base):
    assert client.get(f"{base}?q=%2500").json() == {"results": [], "next": None}


def test_nul_in_a_cookie_is_no_session(client):
    response = Client().get("/", headers={"Cookie": COOKIE})
    assert (response.status_code, "Log in" in response.content.decode()) == (200, True)


@pytest.mark.django_db(transaction=True)
async def test_nul_in_a_sockets_cookie_is_no_session(member):
    headers = [(b"origin", b"http://testserver"), (b"host", b"testserver"), (b"cookie", COOKIE.encode())]
    socket = WebsocketCommunicator(application, f"/ws/w/{member.tenant.slug}/", headers)
    assert (await socket.connect())[0]
    assert (await socket.receive_output())["code"] == 4401


@pytest.mark.parametrize(
    "before",
    [
        "2026-02-31T00:00:00",
        "2026-01-01T25:00:00Z",
        "T25:00:00Z",
        "2026-01-01T00:00:00+99:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "99999-01-01T00:00:00Z",
        "yesterday",
        "9" * 400,
    ],
)
def test_a_time_that_never_was_is_refused_by_name(client, base, before):
    response = client.get(base, {"before": before})
    assert response.status_code == 400
    assert list(response.json()["error"]["fields"]) == ["before"]


@pytest.mark.parametrize(
    ("before", "found"),
    [("0001-01-01T00:00:00Z", 0), ("9999-12-31T23:59:59Z", 1), ("2999-01-01T00:00:00 00:00", 1), ("", 1)],
)
def test_any_time_that_can_be_is_taken(member, client, base, before, found):
    ConversationFactory(membership=member)
    assert len(client.get(f"{base}?before={before}").json()["results"]) == found


def test_words_to_look_for_have_an_end(client, base):
    assert client.get(base, {"q": "x" * 1000}).json()["results"] == []
    response = client.get(base, {"q": "x" * 1001})
    assert (response.status_code, list(response.json()["error"]["fields"])) == (400, ["q"])


def test_the_page_for_what_broke_asks_nothing_of_the_database(member, client, django_assert_num_queries, monkeypatch):
    def broken(*args: object) -> None:
        raise RuntimeError("no session can be read")

    request = RequestFactory().get("/")
    request.user, request.membership = member.user, member
    with django_assert_num_queries(0):
        response = error_responses.server_error(request)
    assert (response.status_code, "Something broke on our side" in response.content.decode()) == (500, True)
    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", broken)  # at the process's edge
    client.raise_request_exception = False
    lost = client.get("/")
    assert (lost.status_code, "Something broke on our side" in lost.content.decode()) == (500, True)


@pytest.mark.parametrize("body", ["[" * 50_000, '{"theme":' * 50_000, '{"theme": ' + "[" * 50_000 + "]" * 50_000 + "}"])
def test_json_that_is_nested_too_deeply_is_refused(client, body):
    response = client.patch("/api/v1/me/preferences/", body, content_type="application/json")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")
