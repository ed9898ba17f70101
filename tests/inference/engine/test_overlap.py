"""Steps that are launched before the last one's tokens are known write what steps in turn write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.engine import EngineConfig, LLMEngine, SamplingParams, StructuredOutputsParams
from inference.engine.batch import Batch
from tests.inference.engine.driving import Results, before_each_forward, drain, greedy, spoil, text_of, tokens_of

Factory = Callable[..., LLMEngine]

PROMPTS = [
    [(31 * n + 7 * k) % 380 + 6 for k in range(length)] for n, length in enumerate((5, 40, 17, 90, 3, 64, 33, 21))
]
POISON = 399
SCARCE = {"num_kv_blocks": 32}
WISHES: dict[str, dict[str, Any]] = {
    "drawn": {"seed": 1},
    "narrow": {"seed": 2, "top_k": 40, "top_p": 0.8, "min_p": 0.01, "temperature": 1.3},
    "several": {"seed": 3, "n": 3},
    "greedy": {"temperature": 0.0},
    "biased": {"seed": 4, "logit_bias": {50: 3.0}, "min_tokens": 20, "stop_token_ids": [50, 51]},
    "stopped": {"seed": 5, "stop": ["e", "th"]},
    "with logprobs": {"seed": 6, "logprobs": 3},
    "ended": {"seed": 7, "stop_token_ids": list(range(100, 140))},
}


def written(results: Results) -> dict[Any, Any]:
    """Tokens, text, end and log probabilities of every answer."""
    answers: dict[Any, list[Any]] = {}
    for outputs in results.values():
        for output in outputs:
            answers.setdefault((output.request_id, output.index), []).append(output)
    return {
        name: (
            tokens_of(outputs),
            text_of(outputs),
            outputs[-1].finish_reason,
            outputs[-1].stop_reason,
            outputs[-1].output_tokens,
            [(round(entry.chosen, 4), entry.rank) for output in outputs for entry in output.logprobs],
        )
        for name, outputs in answers.items()
    }


def arrive(engine: LLMEngine, **common: Any) -> Results:
    """One request every other step, each with other wishes."""
    coming, results, step = list(enumerate(WISHES.items())), Results(), 0
    while coming or engine.has_unfinished:
        if coming and step % 2 == 0:
            number, (name, wishes) = coming.pop(0)
            params = SamplingParams(**{"max_tokens": 30} | wishes | common)
            engine.add_request(name, PROMPTS[number], params, tenant=str(number % 2), band=number % 3 // 2)
        for output in engine.step():
            results.setdefault(output.request_id, []).append(output)
        step += 1
    return results


@pytest.mark.parametrize(
    "options",
    [{}, {"max_batched_tokens": 12}, SCARCE, {"block_size": 16, "num_kv_blocks": 80, "weights": "int8"}],
    ids=["at ease", "in chunks", "preempted", "on the kernels"],
)
def test_every_wish_gets_the_same_answer(options: dict[str, Any], make_engine: Factory) -> None:
    in_turn, overlapping = make_engine(overlap=False, **options), make_engine(overlap=True, **options)
    assert written(arrive(overlapping)) == written(arrive(in_turn))
    if options == SCARCE:
        assert min(engine.counters()["preemptions"] for engine in (in_turn, overlapping)) > 0
    assert in_turn.counters()["overlapped_steps"] == 0
    assert overlapping.counters()["overlapped_steps"] > 20
    assert overlapping.counters()["kv_blocks_used"] == 0


def test_a_penalty_or_a_grammar_waits_for_the_token_and_is_kept(make_engine: Factory) -> None:
    choice = StructuredOutputsParams(choice=["the quick brown fox", "over the lazy dog"])
    for wish in ({"frequency_penalty": 1.5, "temperature": 0.0}, {"structured_outputs": choice, "seed": 1}):
        answers = []
        for overlap in (False, True):
            engine = make_engine(overlap=overlap)
            engine.add_request("r", PROMPTS[0], SamplingParams(max_tokens=25, **wish))
            answers.append(written(drain(engine)))
            assert engine.counters()["overlapped_steps"] == 0
        assert answers[0] == answers[1]


def test_a_step_is_launched_before_the_tokens_of_the_last_one_are_read(make_engine: Factory) -> None:
    engine, seen = make_engine(overlap=True), []
    launch, collect = engine.runner.launch, engine.runner.collect
    engine.runner.launch = lambda chunks: seen.append("launch") or launch(chunks)  # type: ignore[func-returns-value]
    engine.runner.collect = lambda step: seen.append("collect") or collect(step)  # type: ignore[func-returns-value]
    engine.add_request("r", PROMPTS[0], greedy(3))
    assert [len(engine.step()) for _ in range(4)] == [0, 1, 1, 1]
    assert seen == ["launch", "launch", "collect", "launch", "collect", "collect"]
    assert not engine.has_unfinished


def test_an_answer_that_turns_out_to_have_ended_gets_no_token_more(make_engine: Factory) -> None:
    engine = make_engine(overlap=False)
    engine.add_request("r", PROMPTS[0], greedy(8))
    answer = tokens_of(drain(engine)["r"])
    engine = make_engine(overlap=True)
    engine.add_request("ends", PROMPTS[0], greedy(8, stop_token_ids=[answer[3]]))
    engine.add_request("goes on", PROMPTS[0], greedy(8))
    results = drain(engine)
    cut = answer.index(answer[3]) + 1
    assert (tokens_of(results["ends"]), tokens_of(results["goes on"])) == (answer[:cut], answer)
    assert results["ends"][-1].output_tokens == cut
    assert engine.counters()["output_tokens"] == cut + 8
    assert engine.counters()["kv_blocks_used"] == 0


def test_an_answer_that_is_aborted_while_it_is_computed_leaves_the_others_alone(
    llama: Path, make_engine: Factory, generate: Callable[..., list[int]]
) -> None:
    engine = make_engine(overlap=True, max_batched_tokens=24)
    engine.add_request("kept", PROMPTS[0], greedy(20))
    engine.add_request("stopped", PROMPTS[3], greedy(20))
    outputs = engine.step() + engine.step() + engine.step()
    assert engine.abort("stopped")
    assert not engine.abort("stopped")
    engine.add_request("stopped", PROMPTS[3], greedy(20))  # under the same name
    results = drain(engine)
    kept = [output for output in outputs if output.request_id == "kept"] + results["kept"]
    assert tokens_of(kept) == generate(llama, PROMPTS[0], 20)
    assert tokens_of(results["stopped"]) == generate(llama, PROMPTS[3], 20)
    assert results["stopped"][-1].cached_tokens == 0, "its logits were never seen"
    assert engine.counters()["kv_blocks_used"] == 0


def test_what_was_launched_after_a_step_that_fails_is_computed_again(
    llama: Path, make_engine: Factory, generate: Callable[..., list[int]]
) -> None:
    def refuse_poison(batch: Batch) -> None:
        if (batch.token_ids == POISON).any():
            raise RuntimeError("poison")

    engine = make_engine(overlap=True)
    before_each_forward(engine, refuse_poison)
    engine.add_request("bad", [*PROMPTS[1], POISON], greedy(6))
    outputs = engine.step()
    # Launched after the bad one, on blocks that this one would have filled.
    engine.add_request("good", [*PROMPTS[1], 20], greedy(6))
    results = drain(engine)
    assert [output.finish_reason for output in outputs + results["bad"]] == ["error"]
    assert tokens_of(results["good"]) == generate(llama, [*PROMPTS[1], 20], 6)
    assert (engine.counters()["failed_steps"], engine.counters()["kv_blocks_used"]) == (1, 0)


def test_a_step_that_fails_takes_nothing_of_an_aborted_answer_into_the_prefix_cache(
    llama: Path, make_engine: Factory, generate: Callable[..., list[int]]
) -> None:
    engine, broken = make_engine(overlap=True), [True]

    def break_once(batch: Batch) -> None:
        if broken.pop() if broken else False:
            raise RuntimeError("broken")

    before_each_forward(engine, break_once)
    engine.add_request("stopped", PROMPTS[1], greedy(6))
    engine.step()
    engine.abort("stopped")
    engine.add_request("later", PROMPTS[1], greedy(6))
    assert tokens_of(drain(engine)["later"]) == generate(llama, PROMPTS[1], 6)


def test_what_a_step_spoils_for_an_aborted_answer_is_wiped_before_another_has_the_blocks(
    llama: Path, make_engine: Factory, generate: Callable[..., list[int]]
) -> None:
    engine = make_engine(overlap=True)
    spoil(engine, POISON)
    engine.add_request("stopped", [*PROMPTS[0], POISON, *PROMPTS[0]], greedy(6))
    engine.step()
    engine.abort("stopped")
    for number in (0, 2):  # beside the longer one, the shorter is computed over all of its blocks
        engine.add_request(str(number), PROMPTS[number], greedy(6))
    results = drain(engine)
    assert all(tokens_of(results[str(number)]) == generate(llama, PROMPTS[number], 6) for number in (0, 2))


def test_overlap_is_the_devices_choice_unless_it_is_said(make_engine: Factory) -> None:
    assert [make_engine(overlap=choice).runner.overlaps for choice in ("auto", True, False)] == [False, True, False]
    with pytest.raises(ValueError, match="overlap must be true, false or auto"):
        EngineConfig(model="m", overlap="sometimes")  # type: ignore[arg-type]
