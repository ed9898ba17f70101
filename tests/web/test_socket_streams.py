"""Answers as they stream over the WebSocket: to several tabs, over reconnects, to their end."""

from __future__ import annotations

import asyncio
import random
import uuid
from itertools import pairwise

import pytest
from asgiref.sync import sync_to_async

from accounts.scoping import all_tenants
from chatapp.chat.models import Conversation, Message
from chatapp.queue import positions
from chatapp.web import streams
from chatapp.web.payloads import thread_json
from tests.web.tabs import stored, text_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transport", "no_titles")]


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
    monkeypatch.setattr(positions, "LOOK_SECONDS", 0.05)
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


async def test_what_the_model_thinks_comes_beside_the_text(tab, work, client_of, member):
    accepted = await tab.ask()
    job = await work("take")
    await work("start", job, dropped=4)
    await work("think", job, "Hm.\n")
    await work("write", job, "Yes.")
    await work("end", job)
    frames = await tab.until("end")
    tokens = [frame for frame in frames if frame["type"] == "tokens"]
    assert ("".join(frame.get("thought", "") for frame in tokens), text_of(frames)) == ("Hm.\n", "Yes.")
    assert all(left["last"] + 1 == right["first"] for left, right in pairwise(tokens))
    (started,) = [frame for frame in frames if frame["type"] == "state" and frame["state"] == "streaming"]
    assert (started["dropped_messages"], started["sampling"]) == (4, {"top_k": 1})
    names = {"message": accepted["answer"]["id"], "generation": accepted["generation"]}
    await tab.send("subscribe", ref=1, **names, after_seq=0)
    assert ((await tab.one("resync"))["thought"], (await stored(names["message"])).text) == ("Hm.", "Yes.")


async def test_an_answer_that_was_only_thought_says_so(tab, work):
    accepted = await tab.ask()
    job = await work("take")
    await work("start", job)
    await work("think", job, "Hm.")
    await work("end", job)
    end = await tab.one("end")
    assert (end["state"], end["error"]["code"], end["can_continue"], end["length"]) == ("failed", "no_words", False, 0)
    assert "without an answer" in end["error"]["message"]
    await tab.ask("And?", conversation=accepted["conversation"]["id"])
    asked = (await work("take")).messages
    assert [message.role for message in asked] == ["system", "user"], "a turn without words is not sent"


async def test_a_message_tells_what_was_left_out_and_how_long_it_is(tab, work):
    first = await tab.ask()
    assert [first[name]["output_tokens"] for name in ("user_message", "answer")] == [None, None]
    job = await work("take")
    await work("start", job, dropped=2)
    await work("write", job, "One ", "two")
    await work("end", job, "length")
    told = [(await tab.one("end"))["output_tokens"]]
    answer = first["answer"]["id"]
    await tab.send("continue", ref=1, key=uuid.uuid4(), message=answer)
    again = (await tab.one("accepted"))["answer"]
    assert (again["output_tokens"], again["dropped_messages"], again["sampling"]) == (2, 0, {})
    job = await work("take")
    await work("start", job, dropped=6)
    await work("write", job, " three")
    await work("end", job)
    told.append((await tab.one("end"))["output_tokens"])
    thread = await sync_to_async(read_thread)(answer)
    assert [(message["role"], message["dropped_messages"], message["output_tokens"]) for message in thread] == [
        ("user", 0, None),
        ("assistant", 6, sum(told)),
    ]


def read_thread(answer):
    with all_tenants():
        return thread_json(Message.everyone.select_related("conversation").get(pk=answer).conversation)


async def test_a_conversation_deleted_in_the_middle_of_an_answer_ends_it(member, tab, tab_of, work, client_of):
    accepted = await tab.ask()
    names = {"message": accepted["answer"]["id"], "generation": accepted["generation"]}
    job = await work("take")
    await work("start", job)
    await work("write", job, "so far")
    reader = await tab_of(member)
    await reader.open()
    await reader.send("subscribe", ref=1, **names, after_seq=0)
    await reader.one("tokens")
    address = f"/api/v1/w/{member.tenant.slug}/conversations/{accepted['conversation']['id']}/"
    client = await sync_to_async(client_of)(member)
    assert (await sync_to_async(client.delete)(address)).status_code == 204
    await work("end", job, "cancelled")
    for each in (tab, reader):
        frames = await each.until("end")
        assert "error" not in [frame["type"] for frame in frames]
        assert frames[-1]["state"] == "stopped"
    await reader.send("subscribe", ref=2, **names, after_seq=0)
    assert (await reader.one("error"))["error"]["code"] == "not_found", "but nobody begins to read it now"


async def test_a_resync_tells_how_all_of_the_answer_was_made(tab, tab_of, member, work):
    accepted = await tab.ask()
    job = await work("take")
    await work("start", job)
    await work("write", job, "One ", "two ")
    await work("end", job, "cancelled")
    await tab.one("end")
    await tab.send("continue", ref=2, key=uuid.uuid4(), message=accepted["answer"]["id"])
    again = await tab.one("accepted")
    await work("answer", "three")
    await tab.one("end")
    other = await tab_of(member)
    await other.open()
    names = {"message": accepted["answer"]["id"], "generation": again["generation"]}
    await other.send("subscribe", ref=1, **names, after_seq=0)
    resync = await other.one("resync")
    [_, answer] = await sync_to_async(_thread)(accepted["conversation"]["id"])
    for name in ("text", "thought", "model", "output_tokens", "dropped_messages", "can_continue", "state"):
        assert resync[name] == answer[name], name
    assert resync["output_tokens"] == 3


def _thread(conversation_id):
    with all_tenants():
        return thread_json(Conversation.objects.get(pk=conversation_id))


async def test_a_stream_that_fails_names_its_answer(tab, work, monkeypatch):
    async def fail(stream):
        raise RuntimeError("odd")

    monkeypatch.setattr(streams.AnswerStream, "run", fail)
    accepted = await tab.ask()
    names = {"message": accepted["answer"]["id"], "generation": accepted["generation"]}
    error = await tab.one("error")
    assert (error["ref"], error["error"]["code"]) == (None, "server_error")
    assert {name: error[name] for name in names} == names
    await tab.send("subscribe", ref=7, **names, after_seq=0)
    assert (await tab.one("error")) == {**error, "ref": 7}
