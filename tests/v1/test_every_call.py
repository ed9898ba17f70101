"""Every address of /v1, tried with every kind of key and without: the table is ``tests/doors/v1.py``."""

from __future__ import annotations

import base64

import httpx2
import pytest
from django.utils import timezone

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
    assert {route for route in routes() if route.startswith("v1/")} == {route for _, route, _ in DOORS}


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
