"""Every address of /v1, tried with every kind of key and without: the table is ``tests/doors/v1.py``."""

from __future__ import annotations

import base64
import json

import httpx2
import pytest
from django.test import AsyncRequestFactory
from django.utils import timezone

from chatapp.v1.handler import ApiHandler
from tests.doors import v1
from tests.doors.door import METHODS, routes
from tests.doors.world import logged_in, snapshot, watch
from tests.factories import ApiKeyFactory

DOORS = [(*door.split(":", 1), row) for door, row in v1.DOORS.items()]


@pytest.fixture
def headers(transactional_db, transport):
    """What each caller sends."""
    keys = {who: ApiKeyFactory() for who in ("owner", "stranger", "suspended", "left")}
    keys["revoked"] = ApiKeyFactory(revoked_at=timezone.now())
    keys["suspended"].user.is_active = False
    keys["suspended"].user.save()
    keys["left"].user.memberships.all().delete()
    owner = keys["owner"]
    cookie = logged_in(owner.user).cookies["sessionid"].value
    basic = base64.b64encode(f":{owner.secret}".encode()).decode()
    others = {
        "cookie": {"Cookie": f"sessionid={cookie}"},
        "basic": {"Authorization": f"Basic {basic}"},
        "anonymous": {},
    }
    return {who: {"Authorization": f"Bearer {key.secret}"} for who, key in keys.items()} | others


def call(address: str, method: str, route: str, headers: dict[str, str]) -> httpx2.Response:
    path = route.replace("<path:name>", "test").replace("<path:rest>", "nothing/here")
    body = v1.ASKED if method in ("POST", "PUT", "PATCH") else None
    return httpx2.request(method, f"{address.removesuffix('/v1')}/{path}", headers=headers, json=body, timeout=20)


def code(reply: httpx2.Response) -> str:
    return reply.json()["error"]["code"]


def test_the_table_knows_every_address_and_no_other():
    assert {route for route in routes() if route.split("/")[0] == "v1"} == {route for _, route, _ in DOORS}


@pytest.mark.parametrize(("method", "route", "row"), DOORS, ids=list(v1.DOORS))
def test_a_program_is_told_what_the_table_says_by_its_key(address, headers, answering, method, route, row):
    for who, word in row.items():
        if word == "200" and method == "POST":
            answering("one")
        asking = "GET" if method == "ANY" else method
        reply, changes = watch(lambda asking=asking, who=who: call(address, asking, route, headers[who]))
        assert str(reply.status_code) == word, who
        assert word == "200" or code(reply) == v1.CODES[int(word)], who
        allowed = v1.NOTED | v1.CHANGES.get(f"{method}:{route}", set()) if word == "200" else set()
        assert changes == allowed, who
        assert "set-cookie" not in reply.headers


@pytest.mark.parametrize(("method", "route", "row"), DOORS, ids=list(v1.DOORS))
def test_no_method_is_answered_that_the_table_does_not_know(address, headers, method, route, row):
    before, status = snapshot(), 404 if method == "ANY" else 405
    for other in METHODS:
        for who in ("owner", "anonymous") if other != method else ():
            reply = call(address, other, route, headers[who])
            assert (reply.status_code, code(reply)) == (status, v1.CODES[status]), other
    assert snapshot() == before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "below", ["", "/", "//", "/chat", "/models/", "/chat/completions/", "/a%0Ab", "/%00", "/é", "/\u202eabc"]
)
def test_whatever_is_asked_below_v1_an_error_has_openais_shape(address, headers, method, below):
    reply = httpx2.request(method, address + below, headers=headers["owner"], timeout=20)
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (reply.status_code, error["code"], error["type"]) in (
        (404, "unknown_url", "invalid_request_error"),
        (404, "model_not_found", "invalid_request_error"),
        (405, "method_not_allowed", "invalid_request_error"),
    )
    assert error["message"].isprintable()


async def test_a_host_that_is_not_ours_is_refused_in_the_same_shape(settings):
    """By Django itself, where plain HTTP is sent on to HTTPS."""
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["chat.example.com"], True
    request = AsyncRequestFactory().get("/v1/models", headers={"host": "evil.example.com"})
    reply = await ApiHandler().get_response_async(request)
    error = json.loads(reply.content)["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "bad_request", None)


@pytest.mark.parametrize(
    ("route", "allowed"), [("models", "GET"), ("models/test", "GET"), ("chat/completions", "POST")]
)
def test_a_wrong_method_is_told_the_right_one(address, headers, route, allowed):
    reply = httpx2.delete(f"{address}/{route}", headers=headers["owner"], timeout=20)
    assert (reply.status_code, reply.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, "It came as application/x-www-form-urlencoded"),
        ({"Content-Type": "text/plain; charset=latin-1"}, "It came as text/plain"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "It came with Content-Encoding gzip"),
        ({"Content-Type": "application/json"}, "not valid JSON"),
        ({}, "not valid JSON"),
    ],
)
def test_what_is_no_json_may_be_so_because_of_how_it_came(address, headers, sent, said):
    asked = {"headers": headers["owner"] | sent, "content": b"model=test", "timeout": 20}
    error = httpx2.post(f"{address}/chat/completions", **asked).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_json", None)
    assert said in error["message"]


def test_json_is_taken_whatever_it_calls_itself(address, headers, answering):
    """As curl sends it, where nobody says what it is."""
    answering("one")
    asked = {"content": json.dumps(v1.ASKED), "headers": headers["owner"] | {"Content-Type": "text/plain"}}
    assert httpx2.post(f"{address}/chat/completions", **asked, timeout=20).status_code == 200


def test_a_model_that_is_not_served_is_named_by_its_field(address, headers):
    asked = {"json": v1.ASKED | {"model": "other"}, "headers": headers["owner"], "timeout": 20}
    for reply in (
        httpx2.post(f"{address}/chat/completions", **asked),
        httpx2.get(f"{address}/models/other", headers=headers["owner"], timeout=20),
    ):
        assert (reply.status_code, reply.json()["error"]["param"]) == (404, "model")
