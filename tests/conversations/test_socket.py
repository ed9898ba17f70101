"""The WebSocket protocol (docs/protocol.md) against the real consumer, transport and database."""

from __future__ import annotations

import asyncio
import random
import uuid
from itertools import pairwise

import orjson
import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Plan
from chatapp.asgi import application
from chatapp.conversations import streams
from chatapp.conversations.models import Conversation, Message
from chatapp.generation import line
from tests.hand import HandWorker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transport", "no_titles")]


class Tab:
    """One socket, as a page holds it."""

    def __init__(self, slug: str, cookie: str) -> None:
        headers = [
            (b"cookie", f"sessionid={cookie}".encode()),
            (b"origin", b"http://testserver"),
            (b"host", b"testserver"),
        ]
        self._socket = WebsocketCommunicator(application, f"/ws/w/{slug}/", headers)

    async def open(self) -> dict:
        connected, _ = await self._socket.connect(timeout=5)
        assert connected
        return await self.next()

    async def raw(self, text: str) -> None:
        await self._socket.send_to(text_data=text)

    async def send(self, kind: str, **fields) -> None:
        await self.raw(orjson.dumps({"type": kind, **fields}, default=str).decode())

    async def next(self) -> dict:
        return orjson.loads(await self._socket.receive_from(timeout=5))

    async def until(self, *kinds: str) -> list[dict]:
        frames = [await self.next()]
        while frames[-1]["type"] not in kinds:
            frames.append(await self.next())
        return frames

    async def one(self, kind: str) -> dict:
        return (await self.until(kind))[-1]

    async def ask(self, text="Hello", **fields) -> dict:
        await self.send("send", ref="r", key=uuid.uuid4(), text=text, **fields)
        return await self.one("accepted")

    async def closed_with(self) -> int:
        await self._socket.connect(timeout=5)
        return (await self._socket.receive_output(timeout=5))["code"]

    async def close(self) -> None:
        await self._socket.disconnect()


@pytest.fixture
async def tab_of():
    tabs = []

    async def make(membership: Membership, slug: str = "") -> Tab:
        def cookie() -> str:
            client = Client()
            client.force_login(membership.user)
            return client.session.session_key

        tabs.append(Tab(slug or membership.tenant.slug, await sync_to_async(cookie)()))
        return tabs[-1]

    yield make
    for tab in tabs:
        await tab.close()


@pytest.fixture
async def tab(member, tab_of):
    tab = await tab_of(member)
    await tab.open()
    return tab


@pytest.fixture
def work(hand: HandWorker):
    """Call the hand worker from a thread, as a worker would be."""

    async def call(verb: str, *args, **kwargs):
        return await asyncio.to_thread(getattr(hand, verb), *args, **kwargs)

    return call


async def stored(message_id) -> Message:
    return await Message.everyone.aget(pk=message_id)


def text_of(frames) -> str:
    return "".join(frame["text"] for frame in frames if frame["type"] == "tokens")


async def test_the_first_frame_tells_the_model_and_the_usage(member, tab_of):
    welcome = await (await tab_of(member)).open()
    assert (welcome["type"], welcome["protocol"]) == ("welcome", 1)
    assert (welcome["model"]["state"], welcome["model"]["name"]) == ("ready", "test")
    assert (welcome["usage"]["used"], welcome["usage"]["limit"]) == (0, 100_000)


async def test_strangers_and_missing_workspaces_are_closed_alike_and_anonymous_ones_apart(member, stranger, tab_of):
    assert await (await tab_of(stranger, member.tenant.slug)).closed_with() == 4404
    assert await (await tab_of(stranger, "nowhere")).closed_with() == 4404
    anonymous = Tab(member.tenant.slug, "none")
    assert await anonymous.closed_with() == 4401
    await anonymous.close()


async def test_a_page_of_another_origin_is_refused(member):
    headers = [(b"origin", b"https://evil.example"), (b"host", b"testserver")]
    socket = WebsocketCommunicator(application, f"/ws/w/{member.tenant.slug}/", headers)
    connected, _ = await socket.connect()
    assert not connected


async def test_an_answer_streams_from_the_first_event_to_the_end(tab, work):
    accepted = await tab.ask("Hello there")
    assert (accepted["ref"], accepted["conversation"]["new"]) == ("r", True)
    assert (accepted["user_message"]["text"], accepted["answer"]["state"]) == ("Hello there", "queued")
    job = await work("take")
    await work("start", job)
    await work("write", job, "One ", "two ")
    await work("write", job, "three 🦊")
    await work("end", job)
    frames = await tab.until("end")
    tokens = [frame for frame in frames if frame["type"] == "tokens"]
    assert text_of(frames) == "One two three 🦊"
    assert (tokens[0]["first"], tokens[-1]["last"]) == (1, 4)
    assert all(left["last"] + 1 == right["first"] for left, right in pairwise(tokens))
    states = [frame["state"] for frame in frames if frame["type"] == "state"]
    assert states[-1] == "streaming"
    end = frames[-1]
    assert (end["state"], end["seq"], end["length"], end["output_tokens"]) == ("done", 5, 15, 3)
    saved = await stored(accepted["answer"]["id"])
    assert (saved.text, saved.state) == ("One two three 🦊", "done")
    assert (await tab.one("usage"))["usage"]["used"] == 13


@pytest.mark.parametrize("pieces", [(), ("",), ("text", ""), ("text", "", "")])
async def test_the_end_follows_the_last_tokens_without_a_gap(tab, work, pieces):
    """The engine's last token often has no text of its own; a reader must not take that for a loss."""
    await tab.ask()
    job = await work("take")
    await work("start", job)
    await work("write", job, *pieces)
    await work("end", job)
    frames = await tab.until("end")
    tokens = [frame for frame in frames if frame["type"] == "tokens"]
    assert tokens[0]["first"] == 1
    assert frames[-1]["seq"] == tokens[-1]["last"] + 1 == len(pieces) + 2
    assert text_of(frames) == "".join(pieces)


async def test_a_waiting_person_sees_the_place_in_line(tab, work, monkeypatch):
    monkeypatch.setattr(streams, "POSITION_SECONDS", 0.05)
    monkeypatch.setattr(line, "LOOK_SECONDS", 0.05)
    await tab.ask("First")
    second = await tab.ask("Second")

    async def place():
        while (frame := await tab.one("state"))["message"] != second["answer"]["id"]:
            pass
        return frame["state"], frame["position"]

    assert await place() == ("queued", {"place": 2, "waiting": 2, "wait": None})
    await work("take")
    assert await place() == ("queued", {"place": 1, "waiting": 1, "wait": None})


async def test_stop_keeps_what_was_written(tab, work, transport):
    accepted = await tab.ask()
    job = await work("take")
    await work("start", job)
    await work("write", job, "half a sen")
    await tab.one("tokens")
    await tab.send("stop", ref=9, message=accepted["answer"]["id"])
    assert (await tab.one("stopping"))["ref"] == 9
    assert transport.renew("w1").cancelled == {job.id}
    await work("end", job, "cancelled")
    end = await tab.one("end")
    assert (end["state"], end["can_continue"]) == ("stopped", True)
    assert (await stored(accepted["answer"]["id"])).text == "half a sen"


async def test_two_tabs_see_the_same_stream(member, tab, tab_of, work):
    first = await tab.ask("Before")
    await work("answer", "x")
    await tab.one("end")
    other = await tab_of(member)
    await other.open()
    conversation = first["conversation"]["id"]
    await other.send("open", ref=1, conversation=conversation)
    opened = await other.one("opened")
    assert (opened["leaf"], opened["title"]) == (first["answer"]["id"], "Before")
    await tab.ask("From the first tab", conversation=conversation)
    news = await other.one("message")
    question, answer = news["messages"]
    assert (question["text"], answer["state"]) == ("From the first tab", "queued")
    await other.send("subscribe", ref=2, message=answer["id"], generation=answer["generation"], after_seq=0)
    assert (await other.one("state"))["state"] == "queued"
    await work("answer", "same ", "for ", "both")
    assert text_of(await tab.until("end")) == text_of(await other.until("end")) == "same for both"


async def test_200_random_reconnects_lose_nothing_and_repeat_nothing(member, tab, tab_of, work):
    """A reader that leaves and comes back at random places while the answer is being written."""
    dice = random.Random(7)
    accepted = await tab.ask()
    names = {"message": accepted["answer"]["id"], "generation": accepted["generation"]}
    job = await work("take")
    await work("start", job)
    pieces: list[str] = []
    enough = asyncio.Event()

    async def write() -> None:
        while not enough.is_set():
            pieces.append(dice.choice(["a", "é", "語", "🦊", "\n", "word "]))
            await work("write", job, pieces[-1])
            await asyncio.sleep(0.005)
        await work("end", job)

    writer = asyncio.create_task(write())
    seen = [(0, "")]  # every (sequence number, text up to it) that the reader has stood at
    for _ in range(200):
        if dice.random() < 0.3:  # frames were lost on the way: it comes back to where it stood before
            del seen[dice.randrange(1, len(seen) + 1) :]
        reader = await tab_of(member)
        await reader.open()
        await reader.send("subscribe", ref=1, **names, after_seq=seen[-1][0])
        for _ in range(dice.randrange(4)):
            frame = await reader.one("tokens")
            assert frame["first"] == seen[-1][0] + 1
            seen.append((frame["last"], seen[-1][1] + frame["text"]))
        await reader.close()
    enough.set()
    await writer

    last = await tab_of(member)
    await last.open()
    await last.send("subscribe", ref=1, **names, after_seq=seen[-1][0])
    frames = await last.until("end", "resync")
    whole = "".join(pieces)
    rest = frames[-1]["text"].removeprefix(seen[-1][1]) if frames[-1]["type"] == "resync" else text_of(frames)
    saved = await stored(accepted["answer"]["id"])
    assert (seen[-1][1] + rest, saved.text, saved.state) == (whole, whole, "done")
    assert text_of(await tab.until("end")) == whole


async def test_a_subscription_to_an_ended_answer_gives_it_whole(tab, work, transport):
    accepted = await tab.ask()
    await work("answer", "all of it")
    await tab.one("end")
    names = {"message": accepted["answer"]["id"], "generation": accepted["generation"]}
    for after_seq in (0, 2, 999):
        await tab.send("subscribe", ref=1, **names, after_seq=after_seq)
        frame = await tab.one("resync")
        assert (frame["text"], frame["state"], frame["can_continue"]) == ("all of it", "done", False)


async def test_a_stranger_cannot_subscribe_or_stop(member, stranger, tab, tab_of, work):
    accepted = await tab.ask()
    other = await tab_of(stranger)
    await other.open()
    names = {"message": accepted["answer"]["id"], "generation": accepted["generation"]}
    await other.send("subscribe", ref=5, **names, after_seq=0)
    theirs = await other.one("error")
    await other.send("subscribe", ref=5, message=uuid.uuid4(), generation=uuid.uuid4(), after_seq=0)
    missing = await other.one("error")
    assert theirs == missing
    assert (theirs["ref"], theirs["error"]["code"]) == (5, "not_found")
    await other.send("stop", ref=6, message=accepted["answer"]["id"])
    assert (await other.one("error"))["error"]["code"] == "not_found"
    await other.send("open", ref=7, conversation=accepted["conversation"]["id"])
    assert (await other.one("error"))["error"]["code"] == "not_found"
    job = await work("take")
    assert job.id == accepted["generation"]


async def test_regenerate_and_continue_over_the_socket(tab, work):
    first = await tab.ask()
    await work("answer", "One", reason="length")
    assert (await tab.one("end"))["can_continue"] is True
    answer = first["answer"]["id"]
    await tab.send("continue", ref=1, key=uuid.uuid4(), message=answer)
    again = await tab.one("accepted")
    assert (again["answer"]["id"], again["answer"]["text"], again["generation"] != first["generation"]) == (
        answer,
        "One",
        True,
    )
    await work("answer", " two")
    end = await tab.one("end")
    assert (end["length"], (await stored(answer)).text) == (7, "One two")
    await tab.send("regenerate", ref=2, key=uuid.uuid4(), message=answer)
    sibling = await tab.one("accepted")
    assert sibling["answer"]["siblings"] == [answer, sibling["answer"]["id"]]


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


async def test_a_failing_model_is_shown_and_what_it_wrote_is_kept(tab, work):
    accepted = await tab.ask()
    job = await work("take")
    await work("start", job)
    await work("write", job, "so far")
    await work("end", job, "failed", error_code="engine_error", error_message="The model failed.")
    end = await tab.one("end")
    assert (end["state"], end["error"]) == (
        "failed",
        {"code": "engine_error", "message": "The model failed."},
    )
    saved = await stored(accepted["answer"]["id"])
    assert (saved.text, saved.can_continue, saved.error_code) == ("so far", True, "engine_error")


async def test_the_socket_ends_with_the_login(member, tab_of):
    tab = await tab_of(member)
    await tab.open()
    await Session.objects.all().adelete()  # what logging out does
    await tab.send("send", ref=1, key=uuid.uuid4(), text="Still me?")
    assert (await tab._socket.receive_output(timeout=5)) == {"type": "websocket.close", "code": 4401}
    assert await Message.everyone.acount() == 0


async def test_a_reader_that_comes_back_to_a_running_answer_is_not_told_that_it_waits(member, tab, tab_of, work):
    accepted = await tab.ask()
    job = await work("take")
    await work("start", job)
    await work("write", job, "so far")
    await tab.one("tokens")
    other = await tab_of(member)
    await other.open()
    names = {"message": accepted["answer"]["id"], "generation": accepted["generation"]}
    await other.send("subscribe", ref=1, **names, after_seq=2)
    await work("write", job, " and on")
    frames = await other.until("tokens")
    assert [frame["type"] for frame in frames] == ["tokens"]


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
