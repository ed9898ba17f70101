"""Every field of every REST request that has a body, with what nobody should send: refused by name, nothing written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from allauth.account.models import EmailAddress

from tests.doors.door import Door
from tests.doors.pages import (
    CONVERSATION,
    DOMAINS,
    DOORS,
    INVITATIONS,
    LINKS,
    MEMBER,
    PREFERENCES,
    RATING,
    WORKSPACE,
    WORKSPACES,
)
from tests.doors.world import fill, watch

pytestmark = pytest.mark.django_db

# What each field takes, and the most characters that it does.
FIELDS: dict[str, dict[str, tuple[Any, int]]] = {
    PREFERENCES: {
        "display_name": ("Ada", 60),
        "theme": ("dark", 5),
        "default_model": ("test", 200),
        "about": ("I teach.", 1500),
        "style": ("Briefly.", 1500),
    },
    CONVERSATION: {"title": ("Mine", 200), "leaf": ("{sibling}", 36)},
    WORKSPACES: {"name": ("Acme", 80)},
    WORKSPACE: {
        "name": ("Acme", 80),
        "accent": ("#102030", 7),
        "welcome": ("Hello", 300),
        "starters": (["What is new?"], 4),
        "instructions": ("We make telescopes.", 1500),
        "allowed_models": (["test"], 100),
        "retention_days": (30, 36_500),
        "collects_feedback": (False, 1),
        "who_invites": ("members", 7),
        "requires_mfa": (False, 1),
    },
    MEMBER: {"role": ("member", 10), "suspended": (True, 1)},
    INVITATIONS: {"emails": (["ada@example.com"], 200), "role": ("analyst", 10)},
    LINKS: {"role": ("member", 10), "limit": (5, 100_000), "days": (5, 365)},
    DOMAINS: {"name": ("acme.example", 190), "role": ("member", 10)},
    RATING: {"value": (-1, 1), "reasons": (["incorrect"], 12), "comment": ("Why", 2000)},
}
CASES = [(route, name) for route, fields in FIELDS.items() for name in fields]
# Of those below, what some field does take.
TAKEN: dict[str, tuple[Any, ...]] = {
    **{"reasons": ([],), "starters": ([], ["x" * 10]), "allowed_models": ([], ["x" * 10])},
    **{
        "retention_days": (None, 5),
        "limit": (None, 5),
        "days": (5,),
        "collects_feedback": (True,),
        "suspended": (True,),
    },
}
REQUIRED: dict[str, dict[str, Any]] = {
    **{RATING: {"value": -1}, INVITATIONS: {"emails": ["ada@example.com"]}, DOMAINS: {"name": "acme.example"}},
    WORKSPACES: {"name": "Acme"},
}
WRONG_TYPES = (None, True, 5, -0.5, [], {}, [[]], ["x" * 10], {"a": 1}, [None], "\ud83d")
# Names of no field, and how they are shown.
UNKNOWN = {
    **{name: name for name in ("colour", "id", "user", "Title", "__class__")},
    **{"": "?", "\x00": "?", "\ud83d": "?", "a\u202eb\nc": "ab c", "x" * 500: "x" * 60},
}


def method_of(route: str) -> str:
    """A workspace is changed by PATCH; what DELETE asks for is its name again."""
    return next(door.method for door in DOORS if door.route == route and door.body and door.method != "DELETE")


@pytest.fixture
def send(world):
    """``send(route, fields)``: what the owner of it all is told, who has proven an address at acme.example."""
    EmailAddress.objects.create(user=world.memberships["owner"].user, email="ada@acme.example", verified=True)

    def act(route: str, body: Any):
        door = Door(method_of(route), route, "owner")
        text = body if isinstance(body, str) else json.dumps(body)
        return world.clients["owner"].generic(
            door.method, door.path(world.owners), text, content_type="application/json"
        )

    return act


def whole(route: str, world, **fields: Any) -> dict[str, Any]:
    """A body that is taken, but for ``fields``."""
    return fill({**REQUIRED.get(route, {}), **fields}, world.owners)


def told(reply) -> set[str]:
    return set(reply.json()["error"]["fields"])


def test_the_table_knows_every_body():
    assert {door.route for door in DOORS if door.body} == set(FIELDS)
    for route, fields in FIELDS.items():
        assert {name for door in DOORS if door.route == route for name in door.body or ()} <= set(fields)


@pytest.mark.parametrize(("route", "name"), CASES)
def test_what_a_field_is_for_is_taken(world, send, route, name):
    assert send(route, whole(route, world, **{name: FIELDS[route][name][0]})).status_code in (200, 201)


@pytest.mark.parametrize("route", FIELDS)
def test_a_field_that_nobody_knows_is_refused_by_name(world, send, route):
    first = next(iter(FIELDS[route]))
    for unknown, shown in UNKNOWN.items():
        body = whole(route, world, **{first: FIELDS[route][first][0], unknown: 1})
        reply, changes = watch(lambda body=body: send(route, body))
        assert (reply.status_code, changes, told(reply)) == (400, set(), {shown}), unknown


@pytest.mark.parametrize(("route", "name"), CASES)
def test_what_is_of_another_type_is_refused_by_name(world, send, route, name):
    for value in WRONG_TYPES:
        if any(type(value) is type(taken) and value == taken for taken in TAKEN.get(name, ())):
            continue
        reply, changes = watch(lambda value=value: send(route, whole(route, world, **{name: value})))
        assert (reply.status_code, changes, told(reply)) == (400, set(), {name}), value


@pytest.mark.parametrize(("route", "name"), CASES)
def test_one_character_too_many_is_refused_by_name(world, send, route, name):
    sample, most = FIELDS[route][name]
    long = {list: lambda: [f"{sample[0]}{n}" for n in range(most + 99)], str: lambda: "x" * (most + 1)}.get(
        type(sample), lambda: 10**12
    )()
    reply, changes = watch(lambda: send(route, whole(route, world, **{name: long})))
    assert (reply.status_code, changes, told(reply)) == (400, set(), {name})


LINES = {
    **{"A\x00da": "Ada", "\u202eAda\u202c": "Ada", "A\nda\tL.": "A da L.", "  Ada  ": "Ada", "A\u200bda": "Ada"},
    **{"Ada 👩‍🔬": "Ada 👩‍🔬", "آدا": "آدا", "x\u2028y": "x y"},
}


@pytest.mark.parametrize(
    ("route", "name"), [(PREFERENCES, "display_name"), (CONVERSATION, "title"), (WORKSPACE, "name")]
)
def test_a_name_is_on_one_line_and_shows_as_it_reads(world, send, route, name):
    for given, kept in LINES.items():
        reply = send(route, {name: given})
        assert (reply.status_code, reply.json()[name]) == (200, kept)


def test_a_name_of_nothing_that_can_be_seen(world, send):
    for nothing in ("", "   ", "\n", "\u202e", "\u200b\u2060", "\x00"):
        assert send(PREFERENCES, {"display_name": nothing}).json()["display_name"] == ""
        reply = send(CONVERSATION, {"title": nothing})
        assert (reply.status_code, told(reply)) == (400, {"title"})


@pytest.mark.parametrize(("route", "name"), [(PREFERENCES, "about"), (PREFERENCES, "style"), (RATING, "comment")])
def test_words_keep_their_lines_and_lose_what_no_keyboard_writes(world, send, route, name):
    reply = send(route, whole(route, world, **{name: "one\n\ttwo\x00\x07 \u202ethree\r\n"}))
    assert (reply.status_code, reply.json()[name]) == (200, "one\n\ttwo \u202ethree")


def test_a_model_that_is_not_served_cannot_be_chosen_and_one_that_was_stays(world, send):
    reply, changes = watch(lambda: send(PREFERENCES, {"default_model": "nope"}))
    assert (reply.status_code, changes, told(reply)) == (400, set(), {"default_model"})
    owner = world.memberships["owner"].user
    owner.choose(default_model="gone")
    assert send(PREFERENCES, {"default_model": "gone"}).status_code == 200
    assert send(PREFERENCES, {"default_model": ""}).status_code == 200
    assert send(PREFERENCES, {"default_model": "gone"}).status_code == 400


BODIES = ("[]", "5", '"x"', "null", "[{}]", "{", "\ufeff{}", '{"theme": NaN}', "9" * 5000)


@pytest.mark.parametrize("route", FIELDS)
def test_what_is_no_object_is_refused(world, send, route):
    for body in BODIES:
        reply, changes = watch(lambda body=body: send(route, body))
        assert (reply.status_code, reply.json()["error"]["code"], changes) == (400, "bad_request", set()), body


@pytest.mark.parametrize("route", FIELDS)
def test_what_is_no_json_is_refused(world, route):
    door = Door(method_of(route), route, "owner")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        reply = world.clients["owner"].generic(door.method, door.path(world.owners), "title=Mine", content_type=kind)
        assert (reply.status_code, reply.json()["error"]["code"]) == (415, "bad_request")
