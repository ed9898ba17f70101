"""Every address, frame and task of the product, tried by everyone it is and is not for.

The lists are the product's own: what the URL resolver, the socket's frames and Celery have, the tables of
``tests/doors`` have to tell about, and about nothing else.
"""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import transaction

from tests.doors import admin, entrance, pages
from tests.doors.door import METHODS, SAFE, meaning, request, routes, told, whole
from tests.doors.world import CALLERS, Things, World, logged_in, snapshot, watch

UNDER = "accounts/", "admin/", "v1"  # these have tables of their own


def test_the_tables_know_every_address_and_no_other():
    assert {route for route in routes() if not route.startswith(UNDER)} == {door.route for door in pages.DOORS}


@pytest.mark.parametrize("door", pages.DOORS, ids=str)
def test_each_is_told_what_the_table_says_and_changes_no_more_than_that(world, door):
    its, row = world.owners, pages.RULES[door.rule]
    found = {who: knock(door, world, who) for who in reversed(CALLERS)}
    assert {who: told(reply) for who, (reply, _) in found.items()} == {
        who: door.means(word, its, world.own(who)) for who, word in row.items()
    }
    assert {who: changes for who, (_, changes) in found.items()} == {
        who: door.changes if word == "ok" else set() for who, word in row.items()
    }


def knock(door, world: World, who: str):
    with transaction.atomic():
        found = watch(lambda: door.knock(world.clients[who], world.owners))
        transaction.set_rollback(door.once)
    return found


def likenesses(world: World):
    """Who asks for a thing of another's, and for one that never was."""
    theirs, missing, own = world.owners, Things.missing(), world.things["stranger"]
    yield from ((who, theirs, missing) for who in ("stranger", "staff", "anonymous"))
    yield from ((who, theirs, missing.inside(theirs)) for who in ("admin", "analyst", "member"))
    yield "stranger", theirs.inside(own), missing.inside(own)


@pytest.mark.parametrize("door", [door for door in pages.DOORS if door.names_things], ids=str)
def test_anothers_thing_answers_as_one_that_does_not_exist(world, door):
    for who, theirs, missing in likenesses(world):
        if pages.RULES[door.rule][who] not in ("404", "log-in") or door.asks(theirs) == door.asks(missing):
            continue  # it is theirs as well, or nothing of another's is named
        replies = [whole(door.knock(world.clients[who], its), door.path(its)) for its in (theirs, missing)]
        assert replies[0] == replies[1], who


@pytest.mark.parametrize("who", ["owner", "member", "stranger"])
@pytest.mark.parametrize("door", pages.NAMING_OTHERS, ids=str)
def test_anothers_thing_named_in_ones_own_answers_as_one_that_does_not_exist(world, door, who):
    own, client = world.own(who), world.clients[who]
    others = [its for its in (*world.things.values(), Things.missing()) if its is not own]
    found = [watch(lambda its=its: door.knock(client, own, naming=its)) for its in others]
    assert [(told(reply), changes) for reply, changes in found] == [((404, "not_found"), set())] * 3
    assert {reply.content for reply, _ in found} == {found[0][0].content}


@pytest.mark.parametrize("route", sorted({door.route for door in pages.DOORS}))
def test_no_method_is_answered_that_the_table_does_not_know(world, route):
    doors = [door for door in pages.DOORS if door.route == route]
    others = [method for method in METHODS if method not in {door.method for door in doors}]
    path, before = doors[0].path(world.owners), snapshot()
    for method in others:
        replies = {who: told(request(client, method, path)) for who, client in world.clients.items()}
        assert replies["owner"] == (405, "method_not_allowed"), method
        assert min(replies.values())[0] >= 300, (method, replies)
    assert snapshot() == before


@pytest.mark.parametrize("door", [door for door in pages.DOORS if door.method == "GET"], ids=str)
def test_head_is_told_as_get_is_and_without_a_body(world, door):
    for who in CALLERS:
        reply, head = (door.knock(world.clients[who], world.owners, method) for method in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (reply.status_code, b"")


@pytest.mark.parametrize("door", [door for door in pages.DOORS if door.method not in SAFE], ids=str)
def test_another_site_changes_nothing_in_a_persons_name(world, door):
    browser = logged_in(world.memberships["owner"].user, enforce_csrf_checks=True)
    reply, changes = watch(lambda: door.knock(browser, world.owners))
    assert (told(reply), changes) == ((403, "forbidden"), set())


# django-allauth's pages


def test_the_table_of_the_entrance_knows_every_address_and_no_other():
    assert {route for route in routes() if route.startswith("accounts/")} == set(entrance.RULES)


@pytest.mark.parametrize("route", entrance.RULES)
def test_the_entrance_is_open_to_whom_the_table_says_and_writes_nothing_for_an_empty_form(world, free_plan, route):
    path = entrance.path(route)
    for column, word in entrance.RULES[route].items():
        method, _, logged = column.partition("-")
        client = logged_in(world.memberships["owner"].user if logged else None)
        reply, changes = watch(lambda method=method, client=client: getattr(client, method.lower())(path))
        assert told(reply) == meaning(word, path=path), column
        assert changes == entrance.CHANGES.get((route, column), set()), column


@pytest.mark.parametrize("act", ["action_remove", "action_primary", "action_send"])
def test_another_persons_address_is_nobody_elses(world, act):
    owner = world.memberships["owner"].user
    world.clients["owner"].get("/accounts/email/")  # notes it
    for who in ("member", "stranger"):
        form = {act: "", "email": owner.email}
        world.clients[who].get("/accounts/email/")
        reply, changes = watch(lambda client=world.clients[who], form=form: client.post("/accounts/email/", form))
        assert (told(reply), changes) == ((302, "/accounts/email/"), set())


# The admin


def test_the_table_of_the_admin_knows_every_model_and_page_and_no_other():
    models = {f"admin/{model}/{view}" for model in admin.MODELS for view in admin.VIEWS}
    forwards = {f"admin/{model}/<path:object_id>/" for model in admin.MODELS}  # to the form
    found = {admin.in_order(route) for route in routes() if route.startswith("admin/")}
    assert found == models | forwards | set(admin.PAGES)


@pytest.mark.parametrize("name", admin.MODELS)
def test_lists_and_forms_of_the_admin_are_for_staff_with_the_right_alone(world, name):
    row = admin.KINDS[admin.MODELS[name]]
    admin.make_missing(world)
    clients, pk = admin.callers(world), str(admin.one_of(apps.get_model(*name.split("/")), world).pk)
    for view in admin.VIEWS:
        path, column = f"/admin/{name}/{view}".replace("<path:object_id>", pk), view.split("/")[-2:][0] or "list"
        before = snapshot()
        assert told(clients["super"].get(path)) == meaning(row[column]), path
        if row.get(f"POST-{column}", "-") != "-":
            assert told(clients["super"].post(path, {"post": "yes"})) == meaning("403"), path
        for method in ("get", "post"):
            assert told(getattr(clients["staff"], method)(path, {"post": "yes"})) == meaning("403"), path
            for who in ("member", "anonymous"):
                assert getattr(clients[who], method)(path, {"post": "yes"}).url.startswith("/admin/login/?next="), path
        assert snapshot() == before, path


@pytest.mark.parametrize("route", admin.PAGES)
def test_pages_of_the_admin_are_for_whom_the_table_says(world, route):
    path, clients = admin.page_path(route, world), admin.callers(world)
    before = snapshot()
    for who, word in admin.PAGES[route].items():
        assert told(clients[who].get(path)) == meaning(word, path=path), who
    assert snapshot() == before
