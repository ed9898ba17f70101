"""What goes wrong at a server, before and in the middle of an answer."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from inference.messages import ANY_OBJECT, Started
from tests.fake_upstream import FakeUpstream, Fault, event, words
from tests.inference.logs import ended, text_of, tokens_of, wait_until
from tests.inference.writers.relay.jobs import SAMPLING, job

JSON = {"Content-Type": "application/json"}


FAILURES = {
    "500": Fault("status", status=500, raw=b"oops"),
    "401": Fault("status", status=401),
    "429": Fault("status", status=429, headers={"Retry-After": "1"}),
    "a redirect": Fault("status", status=307, headers={"Location": "http://127.0.0.1:9/"}),
    "cut": Fault("cut"),
    "hang": Fault("hang"),
    "nothing": Fault("raw", raw=b""),
    "garbage": Fault("raw", raw=b"data: <html>\n\n"),
    "not an object": Fault("raw", raw=b"data: [1]\n\n"),
    "a page": Fault("raw", raw=b"<html>Welcome</html>", headers={"Content-Type": "text/html"}),
    "an error in a 200": Fault("raw", raw=b'{"error":{"message":"no","code":500}}', headers=JSON),
    "an error event": Fault("raw", raw=b'event: error\ndata: {"message":"no"}\n\n'),
    "an error as data": Fault("raw", raw=b'data: {"error":"no"}\n\n'),
    "a line of 10 MB": Fault("raw", raw=b"data: " + b"x" * 10_000_000 + b"\n\n"),
    "deep nesting": Fault("raw", raw=b"data: " + b"[" * 500_000 + b"\n\n"),
    "gave up": Fault("raw", raw=event({"choices": [{"delta": {}, "finish_reason": "abort"}]})),
}


@pytest.mark.parametrize("name", FAILURES)
def test_before_the_first_token_another_server_is_asked(transport, relay, make_upstream, name):
    bad, good = make_upstream(), make_upstream()
    bad.faults.append(FAILURES[name])
    relay(bad, good, first_token_seconds=0.3)
    transport.submit(job())
    log = ended(transport)
    assert (text_of(log), log[-1].reason) == (words(20), "stop")
    assert (len(bad.requests), len(good.requests)) == (1, 1)
    assert sum(isinstance(one, Started) for one in log) == 1


@pytest.mark.parametrize("name", ["cut", "hang", "garbage", "an error event", "a line of 10 MB", "gave up", "nothing"])
def test_after_the_first_token_another_server_goes_on_word_by_word(transport, relay, make_upstream, name):
    bad, good = make_upstream(), make_upstream()
    bad.faults.append(replace(FAILURES[name], after=8))
    relay(bad, good, token_seconds=0.3)
    transport.submit(job(sampling=replace(SAMPLING, max_tokens=18)))
    log = ended(transport)
    assert (text_of(log), log[-1].reason) == (words(18), "length")
    assert log[-1].prompt_tokens == 2, "what was written elsewhere is no part of the prompt"
    (asked,) = good.requests
    assert asked["messages"][-1] == {"role": "assistant", "content": words(8)}
    assert (asked["continue_final_message"], asked["add_generation_prompt"]) == (True, False)
    assert asked["max_tokens"] == 10
    assert (log[-1].output_tokens, tokens_of(log)) == (18, 18)


def test_servers_that_cannot_go_on_with_a_text_leave_it_interrupted(transport, relay, make_upstream):
    """A server that does not know the flag would begin anew: the text would stand there twice."""
    bad, good = make_upstream(owner="openai"), make_upstream(owner="openai")
    bad.faults.append(Fault("cut", after=8))
    relay(bad, good)
    transport.submit(job())
    log = ended(transport)
    assert (text_of(log), log[-1].reason, good.requests) == (words(8), "interrupted", [])


def test_what_no_server_takes_waits_in_the_line_until_one_does(transport, relay, make_upstream):
    upstream = make_upstream()
    upstream.faults.extend(Fault("status", status=503) for _ in range(2))
    relay(upstream)
    transport.submit(job())
    log = ended(transport)
    assert (text_of(log), log[-1].reason, len(upstream.requests)) == (words(20), "stop", 3)


def test_a_request_that_breaks_every_server_fails_and_keeps_its_message(transport, relay, make_upstream):
    upstreams = [make_upstream(), make_upstream()]
    for upstream in upstreams:
        upstream.faults.extend(Fault("cut") for _ in range(9))
    relay(*upstreams)
    transport.submit(job())
    end = ended(transport)[-1]
    assert (end.reason, end.error_code) == ("failed", "upstream_error")
    assert sum(len(upstream.requests) for upstream in upstreams) == 4


def test_a_request_that_a_server_finds_fault_with_is_asked_once(transport, relay, make_upstream):
    upstreams = [make_upstream(), make_upstream()]
    for upstream in upstreams:
        upstream.faults.append(Fault("status", status=400, raw=b'{"error":{"message":"bad temperature at 10.0.0.1"}}'))
    relay(*upstreams)
    transport.submit(job())
    end = ended(transport)[-1]
    assert (end.reason, end.error_code) == ("failed", "upstream_rejected")
    assert "10.0.0.1" not in end.error_message, "what a server says of itself is for the log"
    assert sum(len(upstream.requests) for upstream in upstreams) == 1


def test_turns_that_a_server_has_no_room_for_give_way(transport, relay, make_upstream):
    upstream = make_upstream()
    too_long = json.dumps({"error": {"message": "maximum context length is 100 tokens", "code": 400}}).encode()
    upstream.faults.extend(Fault("status", status=400, raw=too_long) for _ in range(2))
    relay(upstream)
    transport.submit(job("g", *(f"turn {n}" for n in range(9))))
    log = ended(transport)
    assert (log[0].dropped_messages, log[-1].reason) == (4, "stop")
    assert [len(asked["messages"]) for asked in upstream.requests] == [9, 7, 5]


def test_a_message_that_never_fits_fails_by_name(transport, relay, make_upstream):
    upstream = make_upstream()
    too_long = b'{"error":{"message":"This model\'s maximum context length is 9","type":"BadRequestError","code":400}}'
    upstream.faults.extend(Fault("status", status=400, raw=too_long) for _ in range(9))
    relay(upstream)
    transport.submit(job())
    end = ended(transport)[-1]
    assert (end.reason, end.error_code) == ("failed", "prompt_too_long")


def test_while_no_server_answers_nothing_is_claimed_and_it_is_said(transport, relay, make_upstream):
    upstream = make_upstream()
    upstream.healthy = False
    worker = relay(upstream)
    wait_until(lambda: transport.stats().workers)
    assert (worker.report.state, worker.report.detail) == ("failed", "No model server answers.")
    transport.submit(job())
    time.sleep(0.3)
    assert transport.position("g").place == 1
    upstream.healthy = True
    assert text_of(ended(transport)) == words(20)
    wait_until(lambda: worker.report.state == "ready")
    assert worker.report.counters["upstreams_up"] == 1


def test_a_server_that_went_away_is_left_alone_and_found_again(transport, relay, make_upstream):
    upstream = FakeUpstream().start()
    port = upstream.port
    worker = relay(upstream)
    upstream.close()
    wait_until(lambda: worker.report.state == "failed")
    transport.submit(job())
    again = FakeUpstream().start(port)
    try:
        assert text_of(ended(transport)) == words(20)
    finally:
        again.close()


def test_an_answer_held_to_a_schema_is_not_begun_anew_in_its_middle(transport, relay, make_upstream):
    bad, good = make_upstream(), make_upstream()
    bad.faults.append(Fault("cut", after=8))
    relay(bad, good)
    transport.submit(job(sampling=replace(SAMPLING, json_schema=ANY_OBJECT)))
    log = ended(transport)
    assert (text_of(log), log[-1].reason, good.requests) == (words(8), "interrupted", [])


def test_the_fewest_tokens_count_those_of_another_server(transport, relay, make_upstream):
    bad, good = make_upstream(), make_upstream()
    bad.faults.append(Fault("cut", after=8))
    relay(bad, good)
    transport.submit(job(sampling=replace(SAMPLING, min_tokens=10, presence_penalty=1.0)))
    assert text_of(ended(transport)) == words(20)
    assert (good.requests[0]["min_tokens"], good.requests[0]["presence_penalty"]) == (2, 1.0)


def test_an_answer_that_no_longer_fits_where_it_goes_on_ends_at_its_length(transport, relay, make_upstream):
    upstream = make_upstream()
    too_long = b'{"error":{"message":"This model\'s maximum context length is 9","code":400}}'
    upstream.faults.extend([Fault("cut", after=8), *(Fault("status", status=400, raw=too_long) for _ in range(9))])
    relay(upstream)
    transport.submit(job())
    log = ended(transport)
    assert (text_of(log), log[-1].reason, log[-1].error_code) == (words(8), "length", "")
