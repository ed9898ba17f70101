"""What other servers get wrong about a request's own wishes, and what its outputs say of its end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.engine import SamplingParams
from inference.engine.outputs import StepOutput
from tests.inference.engine.driving import drain, greedy, text_of, tokens_of

PROMPT = [40, 41, 42, 43, 44, 45, 46, 47, 48]

Factory = Callable[..., Any]


def alone(engine: Any, params: SamplingParams) -> list[StepOutput]:
    engine.add_request("alone", PROMPT, params)
    outputs: list[StepOutput] = drain(engine)["alone"]
    return outputs


def test_the_first_requests_settings_do_not_bind_those_after_it(make_engine: Factory) -> None:
    engine = make_engine()
    wishes = [
        greedy(12),
        SamplingParams(max_tokens=7, seed=1, temperature=1.5),
        SamplingParams(max_tokens=9, seed=2, top_k=3),
        SamplingParams(max_tokens=11, seed=3, top_p=0.4, frequency_penalty=1.0),
        SamplingParams(max_tokens=8, temperature=0.0, logit_bias={77: 100.0}),
        SamplingParams(max_tokens=10, temperature=0.0, repetition_penalty=1.5),
    ]
    expected = [tokens_of(alone(make_engine(), params)) for params in wishes]
    outputs = []
    for number, params in enumerate(wishes):
        engine.add_request(str(number), PROMPT, params)
        outputs += engine.step()
    while engine.has_unfinished:
        outputs += engine.step()
    for number, tokens in enumerate(expected):
        assert tokens_of([output for output in outputs if output.request_id == str(number)]) == tokens
    assert expected[4] == [77] * 8


def test_each_output_holds_only_what_is_new(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", PROMPT, SamplingParams(max_tokens=100, seed=1))
    outputs = drain(engine)["r"]
    assert [len(output.token_ids) for output in outputs] == [1] * 100
    assert max(len(output.text) for output in outputs) < 20


def test_the_output_names_the_stop_string_that_ended_the_answer(make_engine: Factory) -> None:
    engine = make_engine()
    params = {"max_tokens": 40, "seed": 3}
    text = text_of(alone(engine, SamplingParams(**params)))
    stop = text[20:23]
    outputs = alone(engine, SamplingParams(**params, stop=["never", stop]))
    assert text_of(outputs) == text[: text.index(stop)]
    assert (outputs[-1].finish_reason, outputs[-1].stop_reason) == ("stop", stop)
    assert stop not in text_of(outputs)


def test_the_output_names_the_stop_token_but_not_the_models_own_end(
    llama: Path, tmp_path: Path, make_engine: Factory
) -> None:
    answer = tokens_of(alone(make_engine(), greedy(8)))
    end = answer[4]
    named = alone(make_engine(), greedy(8, stop_token_ids=[end]))
    assert (named[-1].finish_reason, named[-1].stop_reason) == ("stop", end)
    folder = shutil.copytree(llama, tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [end]}))
    own = alone(make_engine(folder), greedy(8))
    assert tokens_of(own) == tokens_of(named)
    assert (own[-1].finish_reason, own[-1].stop_reason) == ("stop", None)


def test_an_answer_cut_by_its_length_has_no_stop_reason(make_engine: Factory) -> None:
    last = alone(make_engine(), greedy(3))[-1]
    assert (last.finish_reason, last.stop_reason) == ("length", None)


def test_min_tokens_holds_back_stop_tokens_and_stop_strings(make_engine: Factory) -> None:
    engine = make_engine()
    params = {"max_tokens": 12, "seed": 3}
    free = alone(engine, SamplingParams(**params))
    end = tokens_of(free)[2]
    tokens = tokens_of(alone(engine, SamplingParams(**params, stop_token_ids=[end], min_tokens=6)))
    assert len(tokens) >= 6
    assert end not in tokens[:6]
    stop = text_of(free[:4])[-1]
    assert len(alone(engine, SamplingParams(**params, stop=stop))) < 6
    assert len(alone(engine, SamplingParams(**params, stop=stop, min_tokens=6))) > 6


def test_penalties_count_the_tokens_of_a_resumed_and_of_a_preempted_answer(make_engine: Factory) -> None:
    params = SamplingParams(max_tokens=20, temperature=0.0, frequency_penalty=2.0, repetition_penalty=1.3)
    whole = tokens_of(alone(make_engine(), params))
    engine = make_engine()
    engine.add_request("r", PROMPT, params, resume_token_ids=whole[:9])
    assert tokens_of(drain(engine)["r"]) == whole[9:]
    scarce = make_engine(num_kv_blocks=14)
    for number in range(3):
        scarce.add_request(str(number), PROMPT, params)
    results = drain(scarce)
    assert scarce.counters()["preemptions"] > 0
    assert [tokens_of(results[str(number)]) for number in range(3)] == [whole] * 3


def test_a_token_that_does_not_exist_is_refused_wherever_it_is_named(make_engine: Factory) -> None:
    engine = make_engine()
    for wish in ({"logit_bias": {400: 1.0}}, {"logit_bias": {-1: 1.0}}, {"stop_token_ids": [400]}):
        with pytest.raises(ValueError, match=r"token ids must be in \[0, 400\)"):
            engine.add_request("r", PROMPT, greedy(2, **wish))
    assert not engine.has_unfinished
