"""Offline generation, and several answers to one prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.engine import LLM, SamplingParams
from inference.errors import EngineError, PromptTooLong
from tests.inference.engine.driving import before_each_forward, drain, greedy, text_of, tokens_of

PROMPT = [40, 41, 42, 43, 44, 45, 46, 47, 48]
OTHER = [90, 91, 92, 93, 94, 95, 96]

Factory = Callable[..., Any]


@pytest.fixture
def llm(llama: Path) -> LLM:
    return LLM(str(llama), num_kv_blocks=64, block_size=4, max_num_seqs=4, max_batched_tokens=64)


def by_index(outputs: list[Any]) -> dict[int, list[Any]]:
    answers: dict[int, list[Any]] = {}
    for output in outputs:
        answers.setdefault(output.index, []).append(output)
    return answers


def test_a_single_prompt_may_be_text_or_tokens(llm: LLM, llama: Path, generate: Factory) -> None:
    (by_tokens,) = llm.generate(PROMPT, greedy(5))
    assert by_tokens.prompt_token_ids == PROMPT
    assert by_tokens.outputs[0].token_ids == generate(llama, PROMPT, 5)
    (by_text,) = llm.generate("the quick brown", greedy(5))
    assert by_text.prompt_token_ids == llm.engine.tokenizer.encode("the quick brown")
    assert llm.generate([], greedy(5)) == []


def test_without_parameters_the_models_own_are_used(llm: LLM) -> None:
    (output,) = llm.generate(PROMPT)
    assert len(output.outputs[0].token_ids) == 16


def test_each_prompt_has_parameters_of_its_own(llm: LLM) -> None:
    outputs = llm.generate([PROMPT, OTHER], [greedy(3), greedy(5)])
    assert [len(output.outputs[0].token_ids) for output in outputs] == [3, 5]
    with pytest.raises(ValueError, match="shorter"):
        llm.generate([PROMPT, OTHER], [greedy(3)])
    assert not llm.engine.has_unfinished


def test_a_refused_prompt_leaves_nothing_running(llm: LLM) -> None:
    with pytest.raises(PromptTooLong):
        llm.generate([PROMPT, [50] * 300], greedy(3))
    assert not llm.engine.has_unfinished
    assert len(llm.generate([PROMPT], greedy(3))[0].outputs[0].token_ids) == 3


def test_a_failed_step_leaves_nothing_running(llm: LLM) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    forward = llm.engine.runner.model.forward
    before_each_forward(llm.engine, fail)
    with pytest.raises(EngineError, match="broken"):
        llm.generate([PROMPT] * 6, greedy(3))
    llm.engine.runner.model.forward = forward  # type: ignore[method-assign]
    assert not llm.engine.has_unfinished
    assert llm.engine.counters()["kv_blocks_used"] == 0


def test_logprobs_name_the_token_and_the_likeliest(llm: LLM) -> None:
    (output,) = llm.generate(PROMPT, SamplingParams(max_tokens=6, seed=3, temperature=2.0, logprobs=2))
    answer = output.outputs[0]
    assert answer.logprobs is not None
    assert len(answer.logprobs) == 6
    for token_id, entries in zip(answer.token_ids, answer.logprobs, strict=True):
        ranks = sorted(entry.rank for entry in entries.values())
        assert ranks in ([1, 2], [1, 2, entries[token_id].rank])
        assert entries[token_id].decoded_token == llm.engine.tokenizer.decode([token_id])
    chosen = [entries[token_id].logprob for token_id, entries in zip(answer.token_ids, answer.logprobs, strict=True)]
    assert answer.cumulative_logprob == pytest.approx(sum(chosen))
    assert llm.generate(PROMPT, greedy(2))[0].outputs[0].logprobs is None


def test_several_answers_come_in_order_and_the_first_is_the_seeds_own(llm: LLM) -> None:
    params = {"max_tokens": 12, "seed": 3}
    (several,) = llm.generate(PROMPT, SamplingParams(**params, n=4))
    assert [answer.index for answer in several.outputs] == [0, 1, 2, 3]
    assert len({tuple(answer.token_ids) for answer in several.outputs}) == 4
    (single,) = llm.generate(PROMPT, SamplingParams(**params))
    assert several.outputs[0] == single.outputs[0]
    assert llm.generate(PROMPT, SamplingParams(**params, n=4))[0].outputs == several.outputs


def test_several_answers_share_the_blocks_that_the_prompt_fills(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", [*range(50, 64), 7], greedy(9, n=4))  # 15 tokens: three full blocks of 4, and 3 tokens
    engine.step()
    shared = Counter(block for seq in engine.scheduler.running for block in seq.block_table)
    assert sorted(shared.values()) == [1, 1, 1, 1, 4, 4, 4]
    # Each answer but the first computed only what is beyond the shared blocks.
    assert engine.counters()["computed_tokens"] == 15 + 3 * 3
    drain(engine)
    assert engine.counters()["kv_blocks_used"] == 0


def test_several_answers_to_a_prompt_in_chunks_compute_it_once(
    make_engine: Factory, llama: Path, generate: Factory
) -> None:
    engine = make_engine(max_batched_tokens=8)
    prompt = [*range(50, 90)]
    engine.add_request("r", prompt, greedy(6, n=3))
    answers = by_index(drain(engine)["r"])
    assert [tokens_of(answers[index]) for index in range(3)] == [generate(llama, prompt, 6)] * 3
    assert engine.counters()["computed_tokens"] == 40 + 2 * 4 + 3 * 5


def test_each_of_several_answers_has_one_end(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", PROMPT, SamplingParams(max_tokens=30, seed=2, n=3, stop_token_ids=list(range(0, 400, 9))))
    for outputs in by_index(drain(engine)["r"]).values():
        reasons = [output.finish_reason for output in outputs]
        assert reasons[:-1] == [None] * (len(reasons) - 1)
        assert reasons[-1] in ("stop", "length")


def test_abort_ends_all_of_several_answers(make_engine: Factory) -> None:
    engine = make_engine(max_num_seqs=2)
    engine.add_request("r", PROMPT, greedy(20, n=4))
    engine.step()
    assert (engine.counters()["running"], engine.counters()["waiting"]) == (2, 2)
    assert engine.abort("r") is True
    assert (engine.has_unfinished, engine.counters()["kv_blocks_used"], engine.free_slots) == (False, 0, 2)
    engine.add_request("r", PROMPT, greedy(2))
    assert len(drain(engine)["r"]) == 2


def test_several_answers_that_are_preempted_are_written_as_they_would_have_been(make_engine: Factory) -> None:
    params = SamplingParams(max_tokens=24, seed=8, n=4)
    texts = []
    for blocks in (256, 17):
        engine = make_engine(num_kv_blocks=blocks)
        engine.add_request("r", PROMPT, params)
        texts.append({index: text_of(outputs) for index, outputs in by_index(drain(engine)["r"]).items()})
    assert engine.counters()["preemptions"] > 0
    assert texts[0] == texts[1]


def test_several_answers_cannot_be_resumed(make_engine: Factory) -> None:
    engine = make_engine()
    with pytest.raises(ValueError, match="n must be 1"):
        engine.add_request("r", PROMPT, greedy(5, n=2), resume_token_ids=[50])
    assert not engine.has_unfinished
