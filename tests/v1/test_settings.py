"""Every setting of a call on a real engine, with the bundled model: the answer is the one it asks for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from accounts.models import LedgerEntry, UsageDay
from chatapp.chat.models import Generation
from inference.engine import EngineConfig, LLMEngine
from inference.worker.loop import Worker
from inference.writers.torch import TorchWriter

from .conftest import wait_until

DEMO = Path(__file__).resolve().parents[2] / "inference" / "demo" / "model"
STORY = [{"role": "user", "content": "Tell me a long story about a fox"}]
SCHEMA = {
    "type": "object",
    "properties": {"animal": {"enum": ["fox", "owl"]}, "legs": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["animal", "legs"],
    "additionalProperties": False,
}


@pytest.fixture(scope="session")
def make_demo():
    return lambda: LLMEngine(EngineConfig(model=str(DEMO), device="cpu", num_kv_blocks=512, num_threads=1))


@pytest.fixture(scope="session")
def engine(make_demo) -> LLMEngine:
    """The worker's."""
    return make_demo()


@pytest.fixture(scope="session")
def reference(make_demo) -> LLMEngine:
    """The test's own, to compare with."""
    return make_demo()


@pytest.fixture
def served(client, transport, engine) -> Iterator[openai.OpenAI]:
    """The client, with a worker that answers."""
    worker = Worker(transport, lambda progress: TorchWriter(engine), name="demo", model="test")
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: worker.loaded)
    yield client
    worker.stop()
    thread.join(10)
    assert not thread.is_alive()


def ask(client, messages=STORY, **fields):
    chosen = {"model": "test", "max_tokens": 24, "temperature": 0, **fields}
    return client.chat.completions.create(messages=messages, **chosen)


def text_of(reply) -> str:
    (choice,) = reply.choices
    return choice.message.content


def written(engine: LLMEngine, messages=STORY, **settings) -> str:
    """What the engine writes by itself."""
    params = engine.sampling_params(**{"max_tokens": 24, "temperature": 0.0, **settings})
    engine.add_request("r", engine.render_chat(messages, ""), params)
    text = ""
    while engine.has_unfinished:
        text += "".join(output.text for output in engine.step())
    return text


def token(engine: LLMEngine, text: str) -> int:
    (token_id,) = engine.tokenizer.encode(text, add_special_tokens=False)
    return token_id


DRAWN = {"temperature": 1.5, "seed": 5, "max_tokens": 60}
SETTINGS = {
    "presence_penalty": 2.0,
    "frequency_penalty": 2.0,
    "repetition_penalty": 3.0,
    "top_k": 2,
    "min_p": 0.3,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_the_answer_as_it_does_in_the_engine(served, reference, name):
    setting = {name: SETTINGS[name]}
    expected = written(reference, **DRAWN, **setting)
    assert text_of(ask(served, **DRAWN, extra_body=setting)) == expected
    assert expected != written(reference, **DRAWN)


def test_a_bias_forces_a_token_and_forbids_another(served, engine):
    fox = token(engine, " fox")
    assert text_of(ask(served, logit_bias={str(fox): 100}, max_tokens=3)) == " fox" * 3
    plain = text_of(ask(served))
    assert "fox" in plain
    assert " fox" not in text_of(ask(served, logit_bias={str(fox): -100}))


def test_a_stop_token_ends_the_answer_and_min_tokens_puts_it_off(served, engine):
    plain = text_of(ask(served))
    fox = token(engine, " fox")
    before, _, _ = plain.partition(" fox")
    reply = ask(served, extra_body={"stop_token_ids": [fox]})
    assert (text_of(reply), reply.choices[0].finish_reason) == (before, "stop")
    tokens = reply.usage.completion_tokens
    longer = ask(served, extra_body={"stop_token_ids": [fox], "min_tokens": tokens + 1})
    assert longer.usage.completion_tokens > tokens


def test_an_answer_is_held_to_a_schema(served):
    shape = {"type": "json_schema", "json_schema": {"name": "animal", "strict": True, "schema": SCHEMA}}
    for seed in range(3):
        answer = json.loads(text_of(ask(served, temperature=1, seed=seed, max_tokens=250, response_format=shape)))
        assert answer.keys() == {"animal", "legs"}
        assert answer["animal"] in ("fox", "owl")
        assert 0 <= answer["legs"] <= 9


def test_an_answer_is_a_json_object(served):
    reply = ask(served, temperature=1, seed=1, max_tokens=200, response_format={"type": "json_object"})
    text = text_of(reply)
    assert isinstance(json.loads(text), dict) if reply.choices[0].finish_reason == "stop" else text.startswith("{")


def test_log_probabilities_are_told_token_by_token(served, reference):
    (choice,) = ask(served, logprobs=True, top_logprobs=3).choices
    content = choice.logprobs.content
    assert "".join(entry.token for entry in content) == choice.message.content
    assert bytes(byte for entry in content for byte in entry.bytes).decode() == choice.message.content
    for entry in content:
        likeliest = entry.top_logprobs[0]
        assert (entry.token, entry.logprob) == (likeliest.token, likeliest.logprob), "greedy takes the likeliest"
        assert [best.logprob for best in entry.top_logprobs] == sorted(
            (best.logprob for best in entry.top_logprobs), reverse=True
        )
        assert len(entry.top_logprobs) == 3
        assert entry.logprob <= 0
    (bare,) = ask(served, logprobs=True).choices
    assert [(entry.token, entry.logprob, entry.top_logprobs) for entry in bare.logprobs.content] == [
        (entry.token, entry.logprob, []) for entry in content
    ]
    assert ask(served).choices[0].logprobs is None


def test_log_probabilities_come_with_their_pieces(served):
    whole = ask(served, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    told = []
    for chunk in ask(served, logprobs=True, top_logprobs=2, stream=True):
        (choice,) = chunk.choices
        told += choice.logprobs.content if choice.logprobs else []
    assert [entry.model_dump() for entry in told] == [entry.model_dump() for entry in whole]


def test_several_answers_are_those_of_the_seeds_in_a_row_and_pay_for_their_prompt_once(served, key):
    reply = ask(served, temperature=1.2, seed=40, n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    texts = [choice.message.content for choice in reply.choices]
    assert len(set(texts)) == 3
    assert [text_of(ask(served, temperature=1.2, seed=40 + number)) for number in range(3)] == texts
    *spent, _, _, last = LedgerEntry.everyone.order_by("created_at")
    assert sorted(entry.prompt_tokens for entry in spent) == [0, 0, last.prompt_tokens]
    assert reply.usage.prompt_tokens == last.prompt_tokens
    assert reply.usage.completion_tokens == sum(entry.output_tokens for entry in spent)
    assert UsageDay.everyone.values_list("reserved", flat=True).get() == 0


def test_several_answers_in_pieces(served):
    texts, ends = ["", "", ""], {}
    chunks = list(ask(served, temperature=1.2, seed=40, n=3, stream=True, stream_options={"include_usage": True}))
    for chunk in chunks[:-1]:
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            ends[choice.index] = choice.finish_reason
    whole = ask(served, temperature=1.2, seed=40, n=3)
    assert texts == [choice.message.content for choice in whole.choices]
    assert ends == {choice.index: choice.finish_reason for choice in whole.choices}
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_a_stop_string_never_shows_with_log_probabilities(served):
    plain = text_of(ask(served))
    stop = re.findall(r"\w+", plain)[3]
    (choice,) = ask(served, stop=stop, logprobs=True).choices
    assert choice.message.content == plain[: plain.index(stop)]
    assert choice.finish_reason == "stop"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"logit_bias": {"2147483647": 1}}, "logit_bias", "invalid_sampling"),
        ({"extra_body": {"stop_token_ids": [2147483647]}}, "stop_token_ids", "invalid_sampling"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "odd"}}}},
            "response_format",
            "invalid_structured_output",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"$ref": "#"}}}},
            "response_format",
            "invalid_structured_output",
        ),
    ],
)
def test_what_only_the_engine_can_refuse_is_refused_by_name(served, stream, fields, param, code):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(served, stream=stream, **fields)
    assert (refused.value.param, refused.value.code, refused.value.type) == (param, code, "invalid_request_error")
    assert Generation.everyone.get().state == "failed"
    assert not LedgerEntry.everyone.exists()
