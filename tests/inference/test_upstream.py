"""The relay behind a real worker and transport, in front of servers that fail in every way they can."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import orjson
import pytest

from inference.messages import ANY_OBJECT, Chance, ChatMessage, Choice, Ended, Job, Sampling, Started, Text
from inference.transport import MemoryTransport
from inference.upstream import Relay, RelayOptions, server
from inference.worker import Worker
from tests.fake_upstream import DONE, FakeUpstream, Fault, event, words

SAMPLING = Sampling(max_tokens=100, temperature=0.5, stop=("END",))


def job(job_id="g", *texts, sampling=SAMPLING, **fields):
    messages = tuple(
        ChatMessage("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(texts or ("hello you",))
    )
    return Job(job_id, "t", "m", messages, sampling, **{"prompt_tokens": 10} | fields)


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch):
    monkeypatch.setattr(server, "CHECK_SECONDS", 0.1)


@pytest.fixture
def transport():
    return MemoryTransport(retention=3600)


@pytest.fixture
def make_upstream():
    made = []

    def make(**options):
        made.append(FakeUpstream(**options).start())
        return made[-1]

    yield make
    for upstream in made:
        upstream.close()


@pytest.fixture
def relay(transport):
    """Start a worker over the upstreams, or over addresses."""
    started = []

    def run(*upstreams, name="w", grace=0.0, **options):
        urls = tuple(getattr(upstream, "url", upstream) for upstream in upstreams)
        chosen = RelayOptions(urls=urls, **{"first_token_seconds": 2.0, "token_seconds": 1.0} | options)
        worker = Worker(transport, lambda progress: Relay(chosen), name=name, model="m", grace=grace)
        thread = threading.Thread(target=worker.run)
        thread.start()
        started.append((worker, thread))
        wait_until(lambda: worker.loaded)
        return worker

    yield run
    for worker, thread in started:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def ended(transport, generation="g"):
    wait_until(lambda: isinstance((transport.log(generation) or [None])[-1], Ended))
    log = transport.log(generation)
    assert [one.seq for one in log] == list(range(1, len(log) + 1))
    return log


def text_of(log):
    return "".join(one.text for one in log if isinstance(one, Text))


def tokens_of(log):
    return sum(one.tokens for one in log if isinstance(one, Text))


def text(content):
    return event({"choices": [{"index": 0, "delta": {"content": content}}]})


END = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})


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


def test_a_server_without_a_list_of_models_is_asked_for_its_health(transport, relay, make_upstream):
    upstream = make_upstream()
    upstream.listed = False
    relay(upstream, model="theirs")
    transport.submit(job())
    assert text_of(ended(transport)) == words(20)
    assert upstream.requests[0]["model"] == "theirs"


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


def test_every_setting_is_asked_for_by_the_name_that_servers_know(transport, relay, make_upstream):
    upstream = make_upstream()
    relay(upstream)
    sampling = Sampling(
        max_tokens=50,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        repetition_penalty=1.1,
        logit_bias=((7, -100.0), (8, 2.5)),
        logprobs=3,
        stop_token_ids=(4,),
        min_tokens=5,
        min_p=0.1,
        top_k=9,
        json_schema='{"type":"array"}',
        seed=7,
    )
    transport.submit(job(sampling=sampling))
    started = ended(transport)[0]
    assert {name: value for name, value in upstream.requests[0].items() if name not in ("messages", "model")} == {
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 50,
        "seed": 7,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "repetition_penalty": 1.1,
        "logit_bias": {"7": -100.0, "8": 2.5},
        "logprobs": True,
        "top_logprobs": 3,
        "stop_token_ids": [4],
        "min_tokens": 5,
        "min_p": 0.1,
        "top_k": 9,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": {"type": "array"}},
        },
    }
    assert (started.sampling["presence_penalty"], started.sampling["min_tokens"]) == (0.5, 5)


def test_any_json_object_is_asked_for_as_openai_does(transport, relay, make_upstream):
    upstream = make_upstream()
    relay(upstream)
    transport.submit(job(sampling=replace(SAMPLING, json_schema=ANY_OBJECT)))
    ended(transport)
    assert upstream.requests[0]["response_format"] == {"type": "json_object"}


def chance(token, logprob, **more):
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()), **more}


LOGPROBS = {
    "as openai": (
        {"content": [chance("Hi", -0.5, top_logprobs=[chance("Hi", -0.5), chance("Yo", -1)])]},
        (Choice(Chance("Hi", -0.5, (72, 105)), (Chance("Hi", -0.5, (72, 105)), Chance("Yo", -1.0, (89, 111)))),),
    ),
    "without bytes": ({"content": [{"token": "Hi", "logprob": -1, "bytes": None}]}, (Choice(Chance("Hi", -1.0)),)),
    "as completions": ({"tokens": ["Hi"], "token_logprobs": [-0.5]}, ()),
    "nonsense": ({"content": [3, {"token": 5}, {"token": "a", "logprob": "b"}, {"token": "a", "logprob": None}]}, ()),
    "odd bytes": ({"content": [{"token": "Hi", "logprob": -1, "bytes": [300, "a"]}]}, (Choice(Chance("Hi", -1.0)),)),
}


@pytest.mark.parametrize("name", LOGPROBS)
def test_log_probabilities_are_passed_on(transport, relay, make_upstream, name):
    upstream = make_upstream()
    told, expected = LOGPROBS[name]
    piece = event({"choices": [{"index": 0, "delta": {"content": "Hi"}, "logprobs": told}]})
    upstream.faults.append(Fault("raw", raw=piece + END + DONE))
    relay(upstream)
    transport.submit(job(sampling=replace(SAMPLING, logprobs=2)))
    log = ended(transport)
    assert tuple(choice for one in log if isinstance(one, Text) for choice in one.choices) == expected
    assert text_of(log) == "Hi"


@pytest.mark.parametrize(("most", "told"), [(None, []), (0, [0]), (1, [1])])
def test_a_server_that_tells_more_chances_than_were_asked_for_is_cut_short(transport, relay, make_upstream, most, told):
    upstream = make_upstream()
    piece = event({"choices": [{"index": 0, "delta": {"content": "Hi"}, "logprobs": LOGPROBS["as openai"][0]}]})
    upstream.faults.append(Fault("raw", raw=piece + END + DONE))
    relay(upstream)
    transport.submit(job(sampling=replace(SAMPLING, logprobs=most)))
    log = ended(transport)
    assert [len(choice.best) for one in log if isinstance(one, Text) for choice in one.choices] == told


def test_what_llama_cpp_tells_of_itself_is_heard_and_its_folders_are_not_told(transport, relay, make_upstream):
    upstream = make_upstream(owner="llamacpp")
    upstream.listing = {"id": "/srv/models/tiny.gguf", "owned_by": "llamacpp", "meta": {"n_ctx": 512, "n_vocab": 3072}}
    worker = relay(upstream)
    transport.submit(job())
    started = ended(transport)[0]
    assert (started.model_revision, worker.report.context_length) == ("tiny.gguf", 512)
    assert upstream.requests[0]["model"] == "/srv/models/tiny.gguf"


def test_llama_cpp_gets_its_own_name_for_a_penalty(transport, relay, make_upstream):
    upstream = make_upstream(owner="llamacpp")
    relay(upstream)
    transport.submit(job(sampling=replace(SAMPLING, repetition_penalty=1.5)))
    ended(transport)
    assert upstream.requests[0]["repeat_penalty"] == 1.5
    assert "repetition_penalty" not in upstream.requests[0]


@pytest.mark.parametrize(
    ("owner", "wanted", "param"),
    [
        ("llamacpp", {"min_tokens": 3}, "min_tokens"),
        ("llamacpp", {"stop_token_ids": (3,)}, "stop_token_ids"),
        ("library", {"logit_bias": ((3, 1.0),)}, "logit_bias"),
        ("library", {"top_k": 5}, "top_k"),
    ],
)
def test_what_a_server_would_ignore_without_a_word_is_refused_by_name(
    transport, relay, make_upstream, owner, wanted, param
):
    upstream = make_upstream(owner=owner)
    relay(upstream)
    transport.submit(job(sampling=replace(SAMPLING, **wanted)))
    (end,) = ended(transport)
    assert (end.reason, end.error_code, end.error_param) == ("failed", "invalid_sampling", param)
    assert upstream.requests == []


def test_of_several_servers_one_that_follows_the_setting_is_asked(transport, relay, make_upstream):
    deaf, able = make_upstream(owner="llamacpp"), make_upstream()
    relay(deaf, able)
    for n in range(4):
        transport.submit(job(f"g{n}", sampling=replace(SAMPLING, min_tokens=3)))
        assert text_of(ended(transport, f"g{n}")) == words(20)
    assert (len(deaf.requests), len(able.requests)) == (0, 4)


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


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/srv/models/tiny.gguf", "tiny.gguf"),
        ("../customers/x/model.gguf", "model.gguf"),
        ("C:\\models\\tiny.gguf", "tiny.gguf"),
        ("org/model", "org/model"),
    ],
)
def test_a_models_file_is_told_without_its_folder(name, shown):
    assert server.without_folder(name) == shown


def test_a_setting_that_an_absent_server_would_follow_waits_for_it_and_is_not_refused():
    deaf, able = (server.make_server(f"http://{name}:1/v1") for name in ("deaf", "able"))
    deaf.owner, able.owner, able.misses = "library", "vllm", 9
    pool = server.Pool([deaf, able], "m")
    assert not able.is_up
    assert pool.unheard(Sampling(max_tokens=1, top_k=5)) == ""
    assert server.Pool([deaf], "m").unheard(Sampling(max_tokens=1, top_k=5)) == "top_k"
    assert server.Pool([deaf], "m").unheard(Sampling(max_tokens=1, top_k=-1, repetition_penalty=1.0)) == ""
