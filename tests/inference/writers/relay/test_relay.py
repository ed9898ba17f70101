"""Answers relayed from servers that are well: their text, their counts, their odd streams, their ends."""

from __future__ import annotations

import time
from dataclasses import replace

import orjson
import pytest

from inference.messages import Started
from inference.writers.relay import RelayOptions
from tests.fake_upstream import DONE, Fault, event, words
from tests.inference.logs import ended, text_of, tokens_of, wait_until
from tests.inference.writers.relay.jobs import END, SAMPLING, job, text


def test_an_answer_is_relayed_with_its_counts(transport, relay, make_upstream):
    upstream = make_upstream()
    relay(upstream, key="secret")
    transport.submit(job(sampling=replace(SAMPLING, seed=7)))
    log = ended(transport)
    assert text_of(log) == words(20)
    started, end = log[0], log[-1]
    assert isinstance(started, Started)
    assert (started.worker, started.model, started.model_revision, started.seed) == ("w", "m", "fake-1", 7)
    assert (end.reason, end.output_tokens, end.prompt_tokens, end.cached_tokens) == ("stop", 20, 2, 1)
    assert end.approximate is False
    assert tokens_of(log) == 20
    (asked,) = upstream.requests
    assert asked == {
        "model": "fake",
        "messages": [{"role": "user", "content": "hello you"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 100,
        "seed": 7,
        "temperature": 0.5,
        "stop": ["END"],
    }
    assert upstream.headers[0]["Authorization"] == "Bearer secret"


def test_without_usage_the_pieces_are_counted_and_it_is_said(transport, relay, make_upstream):
    relay(make_upstream(usage=False, length=7))
    transport.submit(job())
    log = ended(transport)
    assert (log[-1].output_tokens, log[-1].approximate, tokens_of(log)) == (7, True, 7)


def test_tokens_that_came_many_in_a_piece_are_charged_in_the_end(transport, relay, make_upstream):
    upstream = make_upstream()
    usage = event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 50}})
    upstream.faults.append(Fault("raw", raw=text("all at once") + END + usage + DONE))
    relay(upstream)
    transport.submit(job())
    log = ended(transport)
    assert (text_of(log), tokens_of(log), log[-1].output_tokens) == ("all at once", 50, 50)


def test_many_answers_at_once_are_spread_over_the_least_busy(transport, relay, make_upstream):
    upstreams = [make_upstream(rate=100), make_upstream(rate=100)]
    relay(*upstreams, slots=16)
    for n in range(16):
        transport.submit(job(f"g{n}"))
    for n in range(16):
        assert text_of(ended(transport, f"g{n}")) == words(20)
    assert [len(upstream.requests) for upstream in upstreams] == [8, 8]


STREAMS = {
    "crlf": ((text("a") + text("b") + END + DONE).replace(b"\n", b"\r\n"), "ab"),
    "lone cr": ((text("a") + END + DONE).replace(b"\n", b"\r"), "a"),
    "no done": (text("a") + END, "a"),
    "no last newline": (text("a") + END.rstrip(), "a"),
    "done without a reason": (text("a") + DONE, "a"),
    "comments": (b": ping\n\n" + text("a") + b": ping\n\n" + END + DONE, "a"),
    "ids and names": (b"id: 1\nretry: 5\nevent: message\n" + text("a") + END + DONE, "a"),
    "empty choices": (event({"choices": []}) + text("a") + event({"choices": None}) + END + DONE, "a"),
    "nulls": (event({"choices": [{"delta": {"content": None, "role": "assistant"}}]}) + text("a") + END + DONE, "a"),
    "thoughts": (event({"choices": [{"delta": {"reasoning_content": "hm"}}]}) + text("a") + END + DONE, "a"),
    "another choice": (event({"choices": [{"index": 1, "delta": {"content": "x"}}]}) + text("a") + END, "a"),
    "data without a space": ((text("a") + END + DONE).replace(b"data: ", b"data:"), "a"),
    "halves of a character": (
        b'data: {"choices":[{"delta":{"content":"\\ud83e"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"\\udd8a!"}}]}\n\n' + END,
        "🦊!",
    ),
    "broken utf-8": (text("aXb").replace(b"X", b"\xff") + END, "a\ufffdb"),
    "null characters": (text("a\x00b") + END, "ab"),
    "garbage after the end": (text("a") + END + b"data: {nonsense\n\n", "a"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_odd_streams_are_read(transport, relay, make_upstream, name):
    upstream = make_upstream()
    raw, expected = STREAMS[name]
    upstream.faults.append(Fault("raw", raw=raw))
    relay(upstream)
    transport.submit(job())
    log = ended(transport)
    assert (text_of(log), log[-1].reason, len(upstream.requests)) == (expected, "stop", 1)


def test_a_server_that_does_not_stream_is_read_too(transport, relay, make_upstream):
    upstream = make_upstream()
    whole = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 3},
    }
    upstream.faults.append(Fault("raw", raw=orjson.dumps(whole), headers={"Content-Type": "application/json"}))
    relay(upstream)
    transport.submit(job())
    log = ended(transport)
    assert (text_of(log), log[-1].output_tokens, log[-1].prompt_tokens) == ("whole", 3, 4)


def test_what_is_known_of_the_context_is_kept_to(transport, relay, make_upstream):
    upstream = make_upstream()
    upstream.context = 200
    worker = relay(upstream)
    transport.submit(job("g", *("word " * 30 for _ in range(9)), prompt_tokens=675))
    log = ended(transport)
    assert worker.report.context_length == 200
    assert log[0].dropped_messages == 8
    assert upstream.requests[0]["max_tokens"] == 50


def test_a_cancel_closes_the_connection_within_a_tenth_of_a_second(transport, relay, make_upstream):
    upstream = make_upstream(rate=50, length=1000)
    worker = relay(upstream)
    transport.submit(job(sampling=replace(SAMPLING, max_tokens=1000)))
    wait_until(lambda: tokens_of(transport.log("g")) > 5)
    began = time.monotonic()
    transport.cancel("g")
    log = ended(transport)
    wait_until(lambda: upstream.open == 0)
    assert upstream.left_at - began < 0.1
    assert log[-1].reason == "cancelled"
    assert log[-1].output_tokens == tokens_of(log)
    assert text_of(log) == words(tokens_of(log))
    wait_until(lambda: worker.report.free_slots == 16)


def test_continue_goes_on_with_the_text_in_the_database(transport, relay, make_upstream):
    relay(make_upstream())
    transport.submit(job(resume_text=words(5)))
    assert text_of(ended(transport)) == words(15, first=5)


def test_continue_is_put_as_a_request_where_a_server_cannot_go_on(transport, relay, make_upstream):
    upstream = make_upstream()
    relay(upstream, continuation="none")
    transport.submit(job(resume_text="so far"))
    ended(transport)
    assert [message["role"] for message in upstream.requests[0]["messages"]] == ["user", "assistant", "user"]
    assert "continue_final_message" not in upstream.requests[0]


def test_a_worker_that_is_stopped_hands_its_answers_over_in_mid_word(transport, relay, make_upstream):
    first, second = make_upstream(rate=50, length=60), make_upstream(length=60)
    worker = relay(first, name="first")
    transport.submit(job())
    wait_until(lambda: tokens_of(transport.log("g")) > 5)
    worker.stop()
    wait_until(lambda: transport.position("g"))
    wait_until(lambda: first.open == 0)
    relay(second, name="second")
    log = ended(transport)
    assert (text_of(log), log[-1].output_tokens, tokens_of(log)) == (words(60), 60, 60)
    assert [one.worker for one in log if isinstance(one, Started)] == ["first", "second"]


def test_a_server_without_a_list_of_models_is_asked_for_its_health(transport, relay, make_upstream):
    upstream = make_upstream()
    upstream.listed = False
    relay(upstream, model="theirs")
    transport.submit(job())
    assert text_of(ended(transport)) == words(20)
    assert upstream.requests[0]["model"] == "theirs"


def test_an_answer_that_does_not_end_is_ended(transport, relay, make_upstream):
    upstream = make_upstream()
    upstream.faults.append(Fault("raw", raw=text("x" * 1000) * 40))
    relay(upstream)
    transport.submit(job(sampling=replace(SAMPLING, max_tokens=10)))
    log = ended(transport)
    assert log[-1].reason == "length"
    assert len(text_of(log)) < 20_000


@pytest.mark.parametrize("url", ["ftp://host", "host:8000", "http://", "http://host/v1?x=1", "file:///etc/passwd"])
def test_what_is_no_address_of_a_server_is_refused(url):
    with pytest.raises(ValueError, match="--upstream wants"):
        RelayOptions(urls=(url,))
