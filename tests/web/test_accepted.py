"""What is written is never told to be refused, whatever fails after it."""

from __future__ import annotations

import uuid

import pytest
from django.db import OperationalError

from chatapp.chat.models import Generation, Message
from chatapp.queue.transport import get_transport
from chatapp.web import acts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transport", "no_titles")]


def fail(*args, **kwargs):
    raise OperationalError("gone")


async def test_a_reply_that_cannot_be_made_is_asked_for_again_by_its_key(member, tab, tab_of, monkeypatch):
    key = uuid.uuid4()
    with monkeypatch.context() as broken:
        broken.setattr(acts, "conversation_json", fail)
        await tab.send("send", ref="r", key=key, text="Hello")
        closed = await tab._socket.receive_output(timeout=5)
    assert (closed["type"], closed["code"]) == ("websocket.close", 1012)
    again = await tab_of(member)
    await again.open()
    await again.send("send", ref="r", key=key, text="Hello")
    accepted = await again.one("accepted")
    assert accepted["user_message"]["text"] == "Hello"
    assert (await Message.everyone.acount(), await Generation.everyone.acount()) == (2, 1)


async def test_usage_that_cannot_be_read_is_left_out(tab, work, monkeypatch):
    monkeypatch.setattr(acts, "read_usage", fail)
    assert (await tab.ask())["answer"]["state"] == "queued"
    await work("answer", "Yes.")
    assert "error" not in [frame["type"] for frame in await tab.until("end")]


async def test_hints_that_cannot_be_sent_are_lost_and_nothing_else(tab, work, monkeypatch):
    from channels.layers import get_channel_layer

    async def refuse(*args):
        raise ConnectionError("gone")

    monkeypatch.setattr(get_channel_layer(), "group_send", refuse)
    monkeypatch.setattr(get_channel_layer(), "group_add", refuse)
    await tab.ask()
    await work("answer", "Yes.")
    assert "error" not in [frame["type"] for frame in await tab.until("end")]


async def test_a_queue_that_fails_in_an_unknown_way_leaves_it_to_the_sweep(tab, monkeypatch):
    def break_down(job):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(get_transport(), "submit", break_down)
    assert (await tab.ask())["answer"]["state"] == "queued"
    assert (await Generation.everyone.aget()).finished_at is None
