"""What a model thinks, as callers read it: beside the answer, and counted with it."""

from __future__ import annotations

import threading

import openai
import pytest

from accounts.models import LedgerEntry
from inference.messages import ChatMessage

from .test_client import ASKED, ask


@pytest.fixture
def thinking(machine):
    """``thinking("Hm.", "Yes.")``: the next job is answered so, a thought first."""
    threads = []

    def start(thought, *pieces, reason="stop", **fields):
        def write():
            job = machine.take()
            machine.start(job)
            machine.think(job, thought)
            machine.write(job, *pieces)
            machine.end(job, reason, **fields)

        threads.append(threading.Thread(target=write))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(15)


def test_a_whole_answer_has_its_thought_beside_it(client, thinking):
    thinking("Hm.", "Yes.")
    reply = ask(client)
    message = reply.choices[0].message
    assert (message.content, message.reasoning_content) == ("Yes.", "Hm.")
    assert reply.usage.completion_tokens == LedgerEntry.everyone.get().output_tokens == 2


def test_an_answer_without_a_thought_has_no_field_for_one(client, answering):
    answering("Yes.")
    assert "reasoning_content" not in ask(client).choices[0].message.model_dump()


def test_thoughts_stream_before_the_answer(client, thinking):
    thinking("Hm.", "Ye", "s.")
    deltas = [chunk.choices[0].delta for chunk in ask(client, stream=True)]
    thoughts = [delta.reasoning_content for delta in deltas if getattr(delta, "reasoning_content", None)]
    assert ("".join(thoughts), "".join(delta.content or "" for delta in deltas)) == ("Hm.", "Yes.")
    kinds = [
        "thought" if getattr(delta, "reasoning_content", None) else "text"
        for delta in deltas
        if delta.content or getattr(delta, "reasoning_content", None)
    ]
    assert kinds == sorted(kinds, reverse=True), "every thought comes first"


def test_an_answer_that_was_cut_in_its_thought_says_length(client, thinking):
    thinking("Hm", reason="length")
    (choice,) = ask(client).choices
    assert (choice.finish_reason, choice.message.content, choice.message.reasoning_content) == ("length", "", "Hm")


def test_a_reply_can_be_sent_back_and_its_thought_is_not_read_again(client, thinking, machine):
    thinking("Hm.", "Yes.")
    reply = ask(client).choices[0].message.model_dump()
    thinking("Ah.", "No.")
    ask(client, messages=[*ASKED, reply, {"role": "user", "content": "And?"}])
    *_, job = machine.jobs.values()
    assert job.messages[-2:] == (ChatMessage("assistant", "Yes."), ChatMessage("user", "And?"))


@pytest.mark.parametrize("stream", [True, False])
def test_turns_that_a_template_refuses_are_refused_once_and_for_good(client, machine, stream):
    def refuse():
        job = machine.take()
        machine.end(job, "failed", error_code="invalid_messages", error_message="Roles must alternate.")

    thread = threading.Thread(target=refuse)
    thread.start()
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, stream=stream)
    thread.join(10)
    assert (caught.value.code, caught.value.param) == ("invalid_messages", "messages")
    assert "retry-after" not in caught.value.response.headers


def test_a_call_that_is_accepted_is_not_refused_for_its_headers(client, key, answering, monkeypatch):
    from chatapp.v1 import views

    def fail(tenant):
        raise ConnectionError("gone")

    monkeypatch.setattr(views, "request_window", fail)
    answering("Yes.")
    assert ask(client).choices[0].message.content == "Yes."
