"""Settings at the edge of float32 end no one's answer but their own, and no step is waited for forever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inference.engine import LLMEngine, SamplingParams, StructuredOutputsParams
from tests.inference.engine.driving import drain, greedy, spoil, tokens_of

Factory = Callable[..., LLMEngine]
PROMPT = [7, 8, 9, 10]


def beside_a_good_one(engine: LLMEngine, **hostile: Any) -> dict[str, list[int]]:
    engine.add_request("hostile", PROMPT, SamplingParams(max_tokens=6, ignore_eos=True, seed=1, **hostile))
    engine.add_request("good", PROMPT, greedy(6, ignore_eos=True))
    return {name: tokens_of(outputs) for name, outputs in drain(engine).items()}


@pytest.mark.parametrize("hostile", [{"top_p": 1e-50}, {"top_p": 1e-44}, {"temperature": 1e-50}, {"top_p": 5e-324}])
def test_a_setting_that_is_zero_in_float32_means_the_likeliest_token(
    hostile: dict[str, float], make_engine: Factory
) -> None:
    answers = beside_a_good_one(make_engine(), **hostile)
    assert answers["hostile"] == answers["good"]
    assert len(answers["good"]) == 6


def test_a_huge_top_k_is_no_limit(make_engine: Factory) -> None:
    engine = make_engine()
    assert beside_a_good_one(engine, top_k=1_000_000)["hostile"] == beside_a_good_one(engine)["hostile"]


def test_a_bias_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"logit_bias must be in \[-100, 100\]"):
        SamplingParams(logit_bias={1: 1e308})


def test_a_structured_answer_that_ends_well_reports_no_error(make_engine: Factory) -> None:
    engine = make_engine()
    choice = StructuredOutputsParams(choice=["ab"])
    engine.add_request("a", PROMPT, SamplingParams(max_tokens=9, structured_outputs=choice))
    last = drain(engine)["a"][-1]
    assert (last.finish_reason, last.error, last.error_code) == ("stop", "", "")


def test_a_prompt_whose_first_chunk_is_not_finite_leaves_nothing_in_the_prefix_cache(make_engine: Factory) -> None:
    engine = make_engine(max_batched_tokens=8, max_num_seqs=8)
    prompt = [n % 50 + 6 for n in range(40)]
    mend = spoil(engine, prompt[0])
    engine.add_request("spoilt", prompt, greedy(3, ignore_eos=True))
    assert drain(engine)["spoilt"][-1].finish_reason == "error"
    mend()

    engine.add_request("again", prompt, greedy(3, ignore_eos=True))
    last = drain(engine)["again"][-1]

    assert (last.finish_reason, last.cached_tokens) == ("length", 0)
