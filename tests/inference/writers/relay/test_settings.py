"""Which settings a server is asked for, and what is refused where it would not follow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference.messages import ANY_OBJECT, Chance, Choice, Sampling, Text
from inference.writers.relay import server
from tests.fake_upstream import DONE, Fault, event, words
from tests.inference.logs import ended, text_of
from tests.inference.writers.relay.jobs import END, SAMPLING, job


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
