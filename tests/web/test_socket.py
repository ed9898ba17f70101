"""The WebSocket protocol (docs/protocol.md) against the real consumer, transport and database."""

from __future__ import annotations

import uuid

import pytest
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session
from django.utils import timezone

from accounts.models import Membership, Plan
from chatapp.asgi import application
from chatapp.chat.models import Conversation, Message

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transport", "no_titles")]


async def test_the_first_frame_tells_the_person_the_model_and_the_usage(member, tab_of):
    welcome = await (await tab_of(member)).open()
    assert (welcome["type"], welcome["protocol"], welcome["person"]) == ("welcome", 1, str(member.user_id))
    assert (welcome["model"]["state"], welcome["model"]["name"]) == ("ready", "test")
    assert (welcome["usage"]["used"], welcome["usage"]["limit"]) == (0, 100_000)


async def test_a_page_of_another_origin_is_refused(member):
    headers = [(b"origin", b"https://evil.example"), (b"host", b"testserver")]
    socket = WebsocketCommunicator(application, f"/ws/w/{member.tenant.slug}/", headers)
    connected, _ = await socket.connect()
    assert not connected


async def test_the_same_key_on_another_socket_gives_the_same_answer(member, tab, tab_of):
    key = uuid.uuid4()
    await tab.send("send", ref=1, key=key, text="Once")
    first = await tab.one("accepted")
    other = await tab_of(member)
    await other.open()
    await other.send("send", ref=2, key=key, text="Once")
    again = await other.one("accepted")
    assert (again["answer"]["id"], again["generation"]) == (first["answer"]["id"], first["generation"])
    assert await Message.everyone.acount() == 2


async def test_a_refusal_is_an_error_with_its_code_and_writes_nothing(member, tab):
    await Plan.objects.filter(pk=member.tenant.plan_id).aupdate(tokens_per_day=50)
    await tab.send("send", ref="x", key=uuid.uuid4(), text="Too much")
    frame = await tab.one("error")
    assert (frame["ref"], frame["error"]["code"]) == ("x", "quota_exceeded")
    assert frame["error"]["retry_after"] > 0
    assert frame["error"]["resets_at"].endswith("T00:00:00+00:00")
    assert await Message.everyone.acount() == 0


@pytest.mark.parametrize(
    "raw",
    [
        "not json",
        "[]",
        "{}",
        '{"type": 5}',
        '{"type": "dance"}',
        '{"type": "send", "key": "x", "text": "a"}',
        '{"type": "send", "text": "a"}',
        '{"type": "send", "key": "01a1fc2b-e627-7e8f-b90e-4b43b76cbeac", "text": 5}',
        '{"type": "stop"}',
        '{"type": "subscribe", "message": "01a1fc2b-e627-7e8f-b90e-4b43b76cbeac", '
        '"generation": "01a1fc2b-e627-7e8f-b90e-4b43b76cbeac", "after_seq": -1}',
    ],
)
async def test_bad_frames_are_refused_and_the_socket_lives_on(tab, raw):
    await tab.raw(raw)
    assert (await tab.one("error"))["error"]["code"] == "bad_request"
    await tab.send("ping", ref=3)
    assert (await tab.one("pong"))["ref"] == 3


async def test_a_member_who_was_removed_can_do_nothing_more(member, tab):
    await Membership.objects.filter(pk=member.pk).adelete()
    await tab.send("send", ref=1, key=uuid.uuid4(), text="Still here")
    assert (await tab.one("error"))["error"]["code"] == "not_found"


async def test_the_socket_ends_with_the_login(member, tab_of):
    tab = await tab_of(member)
    await tab.open()
    await Session.objects.all().adelete()  # what logging out does
    await tab.send("send", ref=1, key=uuid.uuid4(), text="Still me?")
    assert (await tab._socket.receive_output(timeout=5)) == {"type": "websocket.close", "code": 4401}
    assert await Message.everyone.acount() == 0


async def test_a_deletion_in_another_tab_closes_no_socket(member, tab, work):
    accepted = await tab.ask()
    await work("answer", "x")
    await tab.one("end")
    conversation = accepted["conversation"]["id"]
    await Conversation.everyone.filter(pk=conversation).aupdate(deleted_at=timezone.now())
    event = {"type": "conversation.written", "conversation": conversation, "by": "another"}
    await get_channel_layer().group_send(f"conversation.{conversation}", event)
    await tab.send("ping", ref=1)
    assert (await tab.one("pong"))["ref"] == 1
