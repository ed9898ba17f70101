"""Every socket and every frame, tried by everyone it is and is not for: the table is ``tests/doors/frames.py``."""

from __future__ import annotations

import re

import pytest
from asgiref.sync import sync_to_async

from chatapp.routing import websocket_urlpatterns
from tests.doors.frames import KEY, SAID, SOCKETS, Said, names_of_things, reply_of
from tests.doors.world import Things, changed, fill, snapshot
from tests.web.tabs import Tab

pytestmark = pytest.mark.django_db(transaction=True)
look = sync_to_async(snapshot)


@pytest.fixture
async def tab_in(world):
    """``tab_in("member", "slug")``: a tab of that person in that workspace, not open yet."""
    tabs = []

    def make(who: str, slug: str = "") -> Tab:
        cookie = world.clients[who].cookies.get("sessionid")
        tabs.append(Tab(slug or world.own(who).workspace, cookie.value if cookie else "none"))
        return tabs[-1]

    yield make
    for tab in tabs:
        await tab.close()


def test_the_table_knows_every_socket_and_no_other():
    assert {str(entry.pattern) for entry in websocket_urlpatterns} == set(SOCKETS)


def test_the_table_knows_every_frame_and_every_id_in_it_and_no_other():
    named = {(said.frame, name) for said in SAID for name, value in said.fields.items() if "{" in value}
    assert names_of_things() == named | {(said.frame, "") for said in SAID}


@pytest.mark.parametrize("route", SOCKETS)
async def test_a_socket_opens_to_members_and_hears_nothing_from_others(world, tab_in, route):
    assert re.sub("<.*>", "x", route) == "ws/w/x/"
    for who, word in SOCKETS[route].items():
        if word == "welcome":
            assert (await tab_in(who, world.owners.workspace).open())["type"] == word
            continue
        for slug in (world.owners.workspace, "nowhere"):
            before = await look()
            asking = {"kind": "send", "key": KEY, "text": "Hi"}
            assert await tab_in(who, slug).closed_with(saying=asking) == int(word)
            assert changed(before, await look()) == set()


@pytest.mark.parametrize("said", SAID, ids=str)
async def test_a_frame_is_for_the_owner_of_what_it_names_and_answers_others_as_if_that_were_not(world, tab_in, said):
    allowed = said.changes if said.others == said.owner else set()
    for who in ("member", "stranger"):
        names = (world.owners, Things.missing()) if said.names_things else (world.owners,)
        replies = [await heard(tab_in(who), said, its, world.own(who)) for its in names]
        assert [(reply_of(frame), changes) for frame, changes in replies] == [(said.others, allowed)] * len(names), who
        assert replies[0] == replies[-1], who
    frame, changes = await heard(tab_in("owner"), said, world.owners, world.owners)
    assert (reply_of(frame), changes) == (said.owner, said.changes)


async def heard(tab: Tab, said: Said, its: Things, own: Things):
    """What a new tab is told to a frame that names ``its`` things, and what the frame has changed."""
    await tab.open()
    before = await look()
    sent = fill(said.fields, its, own)
    await tab.send(said.frame, ref=1, **sent)
    if said.owner == "nothing":
        await tab.send("ping", ref="after nothing")
    frame = {name: "as sent" if sent.get(name) == value else value for name, value in (await tab.next()).items()}
    return {"type": "nothing"} if frame.get("ref") == "after nothing" else frame, changed(before, await look())
