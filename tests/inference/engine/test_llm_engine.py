"""The engine's promises to its caller."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.engine import LLM, SamplingParams
from inference.engine.batch import Batch
from inference.errors import EngineError, PromptTooLong, UnsupportedModel
from tests.inference.engine.driving import before_each_forward, drain, greedy, spoil, text_of, tokens_of

PROMPT = [40, 41, 42, 43, 44, 45, 46, 47, 48]
OTHER = [90, 91, 92, 93, 94, 95, 96]
POISON = 399

Factory = Callable[..., Any]


def test_abort_frees_the_blocks_at_once_and_leaves_the_next_step(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("kept", PROMPT, greedy(50))
    engine.add_request("stopped", OTHER, greedy(50))
    assert {output.request_id for output in engine.step()} == {"kept", "stopped"}
    used = engine.counters()["kv_blocks_used"]
    assert engine.abort("stopped") is True
    assert engine.counters()["kv_blocks_used"] == used - 2
    assert [output.request_id for output in engine.step()] == ["kept"]
    assert engine.abort("stopped") is False


def test_abort_takes_out_a_waiting_request(make_engine: Factory) -> None:
    engine = make_engine(max_num_seqs=1)
    engine.add_request("first", PROMPT, greedy(2))
    engine.add_request("second", OTHER, greedy(2))
    engine.step()
    engine.abort("second")
    engine.step()
    assert not engine.has_unfinished


def test_an_engine_that_is_done_has_all_blocks_and_slots_back(make_engine: Factory) -> None:
    engine = make_engine()
    assert (engine.free_slots, engine.free_kv_tokens) == (8, 1024)
    engine.add_request("a", PROMPT, greedy(5))
    assert (engine.free_slots, engine.free_kv_tokens) == (7, 1024 - 12)
    engine.step()
    assert (engine.free_slots, engine.free_kv_tokens) == (7, 1024 - 12)
    drain(engine)
    assert (engine.free_slots, engine.free_kv_tokens) == (8, 1024)


def test_a_seed_gives_the_same_answer_in_any_company(make_engine: Factory) -> None:
    params = SamplingParams(max_tokens=30, temperature=1.2, top_p=0.95, top_k=50, seed=11)
    engine = make_engine()
    engine.add_request("r", PROMPT, params)
    alone = tokens_of(drain(engine)["r"])
    crowded = make_engine(max_batched_tokens=8)
    for number in range(6):
        crowded.add_request(f"noise{number}", OTHER[number:], SamplingParams(max_tokens=20 + number))
    for _ in range(4):
        crowded.step()
    crowded.add_request("r", PROMPT, params)
    assert tokens_of(drain(crowded)["r"]) == alone


def test_a_seeded_answer_resumed_elsewhere_goes_on_as_it_would_have(make_engine: Factory) -> None:
    params = SamplingParams(max_tokens=30, temperature=1.0, seed=5)
    engine = make_engine()
    engine.add_request("whole", PROMPT, params)
    whole = drain(engine)["whole"]
    for cut in (1, 7, 29):
        engine.add_request("rest", PROMPT, params, resume_token_ids=tokens_of(whole[:cut]))
        rest = drain(engine)["rest"]
        assert tokens_of(whole[:cut]) + tokens_of(rest) == tokens_of(whole)
        assert text_of(whole[:cut]) + text_of(rest) == text_of(whole)


def test_different_seeds_give_different_answers(make_engine: Factory) -> None:
    engine = make_engine()
    for seed in range(4):
        engine.add_request(str(seed), PROMPT, SamplingParams(max_tokens=20, seed=seed))
    answers = {tuple(tokens_of(outputs)) for outputs in drain(engine).values()}
    assert len(answers) == 4


def test_without_a_seed_every_answer_is_drawn_anew(make_engine: Factory) -> None:
    engine = make_engine()
    for name in "ab":
        engine.add_request(name, PROMPT, SamplingParams(max_tokens=30))
    results = drain(engine)
    assert tokens_of(results["a"]) != tokens_of(results["b"])


def test_max_tokens_ends_an_answer_with_length(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", PROMPT, greedy(5))
    outputs = drain(engine)["r"]
    assert [output.finish_reason for output in outputs] == [None] * 4 + ["length"]
    assert [output.output_tokens for output in outputs] == [1, 2, 3, 4, 5]
    assert {output.prompt_tokens for output in outputs} == {9}


def test_the_context_ends_an_answer_with_length(make_engine: Factory) -> None:
    engine = make_engine(max_model_len=16)
    engine.add_request("r", PROMPT, greedy(100))
    outputs = drain(engine)["r"]
    assert (len(outputs), outputs[-1].finish_reason) == (7, "length")


def test_an_end_token_stops_and_adds_no_text(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", PROMPT, greedy(20))
    free = drain(engine)["r"]
    end = tokens_of(free)[6]
    first = tokens_of(free).index(end)
    engine.add_request("r", PROMPT, greedy(20, stop_token_ids=(end,)))
    outputs = drain(engine)["r"]
    assert tokens_of(outputs) == tokens_of(free)[: first + 1]
    assert (text_of(outputs), outputs[-1].finish_reason) == (text_of(free[:first]), "stop")


def test_the_models_end_token_stops_unless_ignored(llama: Path, tmp_path: Path, make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", PROMPT, greedy(8))
    answer = tokens_of(drain(engine)["r"])
    folder = shutil.copytree(llama, tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [answer[4]]}))
    engine = make_engine(folder)
    engine.add_request("stops", PROMPT, greedy(8))
    engine.add_request("goes on", PROMPT, greedy(8, ignore_eos=True))
    results = drain(engine)
    assert tokens_of(results["stops"]) == answer[: answer.index(answer[4]) + 1]
    assert tokens_of(results["goes on"]) == answer


def test_a_stop_string_across_token_boundaries_never_leaks(make_engine: Factory) -> None:
    engine = make_engine()
    params = {"max_tokens": 40, "seed": 3, "temperature": 1.0}
    engine.add_request("free", PROMPT, SamplingParams(**params))
    outputs = drain(engine)["free"]
    text, boundary = text_of(outputs), len(text_of(outputs[:20]))
    stop = text[boundary - 3 : boundary + 3]
    engine.add_request("r", PROMPT, SamplingParams(**params, stop=(stop,)))
    stopped = drain(engine)["r"]
    assert (text_of(stopped), stopped[-1].finish_reason) == (text[: text.index(stop)], "stop")


def test_a_resumed_answer_that_had_ended_only_reports_its_end(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", PROMPT, greedy(6))
    answer = tokens_of(drain(engine)["r"])
    engine.add_request("again", PROMPT, greedy(6), resume_token_ids=answer)
    assert engine.has_unfinished
    (output,) = engine.step()
    assert (output.token_ids, output.finish_reason, output.output_tokens) == ((), "length", 6)
    assert not engine.has_unfinished


def test_an_answer_resumed_where_less_fits_ends_and_tells_no_text_twice(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", PROMPT, greedy(20, stop="never there"))
    answer = tokens_of(drain(engine)["r"])
    short = make_engine(max_model_len=len(PROMPT) + 12)
    for count in (12, 13, 20):
        short.add_request("rest", PROMPT, greedy(20), resume_token_ids=answer[:count])
        (output,) = drain(short)["rest"]
        assert (output.text, output.token_ids, output.finish_reason) == ("", (), "length")
        assert output.output_tokens == count
    short.add_request("rest", PROMPT, greedy(20), resume_token_ids=answer[:11])
    assert tokens_of(drain(short)["rest"]) == answer[11:12]


def test_text_held_back_when_its_engine_was_lost_is_told_at_the_end(make_engine: Factory) -> None:
    engine = make_engine()
    held = engine.tokenizer.encode("the lazy", add_special_tokens=False)
    params = greedy(len(held), stop="lazy dog")
    engine.add_request("r", PROMPT, params, resume_token_ids=held)
    (output,) = drain(engine)["r"]
    assert (output.text, output.finish_reason) == ("lazy", "length")


def test_a_prompt_that_never_fits_is_refused_and_the_engine_goes_on(make_engine: Factory) -> None:
    engine = make_engine(num_kv_blocks=4)
    assert engine.context_length == 16
    with pytest.raises(PromptTooLong, match="16 tokens; 15 fit"):
        engine.add_request("long", [50] * 16, greedy(1))
    engine.add_request("fits", [50] * 15, greedy(9))
    assert len(drain(engine)["fits"]) == 1


@pytest.mark.parametrize("prompt", [[], [400], [-1]])
def test_a_prompt_without_valid_tokens_is_refused(prompt: list[int], make_engine: Factory) -> None:
    engine = make_engine()
    with pytest.raises(ValueError, match="token"):
        engine.add_request("r", prompt, greedy(1))
    assert not engine.has_unfinished


def test_an_id_in_use_is_refused(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", PROMPT, greedy(1))
    with pytest.raises(ValueError, match="already"):
        engine.add_request("r", PROMPT, greedy(1))


def test_a_failing_step_fails_only_its_own_sequences(llama: Path, make_engine: Factory, generate: Factory) -> None:
    def refuse_poison(batch: Batch) -> None:
        if (batch.token_ids == POISON).any():
            raise RuntimeError("poison")

    engine = make_engine(max_num_seqs=1)
    before_each_forward(engine, refuse_poison)
    engine.add_request("bad", [*PROMPT, POISON], greedy(6))
    engine.add_request("good", PROMPT, greedy(6))
    results = drain(engine)
    (failed,) = results["bad"]
    assert (failed.finish_reason, failed.error, failed.text) == ("error", "RuntimeError: poison", "")
    # Nothing of the failed step stayed in the prefix cache, and no block was lost.
    assert results["good"][-1].cached_tokens == 0
    assert tokens_of(results["good"]) == generate(llama, PROMPT, 6)
    assert (engine.counters()["failed_steps"], engine.counters()["kv_blocks_used"]) == (1, 0)


def test_logits_that_are_not_finite_fail_their_own_sequence_and_poison_no_block(
    llama: Path, make_engine: Factory, generate: Factory
) -> None:
    engine = make_engine(num_kv_blocks=10)
    spoil(engine, POISON)
    engine.add_request("bad", [*OTHER, POISON, *OTHER], greedy(6))
    engine.add_request("good", PROMPT, greedy(6))
    results = drain(engine)
    assert [output.finish_reason for output in results["bad"]] == ["error"]
    assert tokens_of(results["good"]) == generate(llama, PROMPT, 6)
    for _ in range(3):  # until the blocks that held NaN are in use again
        engine.add_request("later", OTHER, greedy(20))
        assert tokens_of(drain(engine)["later"]) == generate(llama, OTHER, 20)


def test_a_prefix_is_not_shared_between_tenants(make_engine: Factory) -> None:
    engine = make_engine()
    cached = []
    for tenant in ("a", "b", "a"):
        engine.add_request("r", PROMPT, greedy(1), tenant=tenant)
        cached.append(drain(engine)["r"][-1].cached_tokens)
    assert cached == [0, 0, 8]


def test_the_lowest_counter_goes_first(make_engine: Factory) -> None:
    engine = make_engine(max_num_seqs=1)
    for name, counter in (("high", 9.0), ("low", 1.0), ("middle", 5.0)):
        engine.add_request(name, PROMPT, greedy(1), counter=counter)
    assert [engine.step()[0].request_id for _ in range(3)] == ["low", "middle", "high"]


def test_counters_add_up(make_engine: Factory) -> None:
    engine = make_engine()
    for name in "ab":
        engine.add_request(name, PROMPT, greedy(4))
        drain(engine)
    counters = engine.counters()
    expected = {
        "steps": 8,
        "failed_steps": 0,
        "out_of_memory_steps": 0,
        "batched_sequences": 8,
        "computed_tokens": 9 + 3 + 1 + 3,
        "decode_tokens": 3 + 1 + 3,
        "output_tokens": 8,
        "prompt_tokens": 18,
        "prefix_hit_tokens": 8,
        "preemptions": 0,
        "running": 0,
        "waiting": 0,
        "kv_blocks": 256,
        "kv_blocks_used": 0,
    }
    assert {name: counters[name] for name in expected} == expected
    assert all(counters[f"{phase}_seconds"] > 0 for phase in ("schedule", "model", "sample", "detokenize"))


def test_the_models_own_sampling_fills_what_the_caller_leaves_open(
    llama: Path, tmp_path: Path, make_engine: Factory
) -> None:
    folder = shutil.copytree(llama, tmp_path / "model")
    own = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95}
    (folder / "generation_config.json").write_text(json.dumps(own))
    engine = make_engine(folder)
    assert engine.default_sampling == {"temperature": 0.6, "top_k": 20, "top_p": 0.95}
    params = engine.sampling_params(max_tokens=7, temperature=0.1, top_p=None, top_k=None, seed=None)
    assert params == SamplingParams(max_tokens=7, temperature=0.1, top_p=0.95, top_k=20)


def test_a_chat_is_rendered_by_the_models_template(make_engine: Factory) -> None:
    engine = make_engine()
    ids = engine.render_chat([{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}])
    assert engine.tokenizer.decode(ids) == "<|system|>be</s><|user|>hi</s><|assistant|>"
    resumed = engine.render_chat([{"role": "user", "content": "hi"}], resume_text="The quick")
    assert engine.tokenizer.decode(resumed) == "<|user|>hi</s><|assistant|>The quick"


def test_a_template_that_refuses_system_messages_gets_them_in_the_first_question(
    llama: Path, tmp_path: Path, make_engine: Factory
) -> None:
    folder = shutil.copytree(llama, tmp_path / "model")
    template = (folder / "chat_template.jinja").read_text()
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(refusal + template)
    engine = make_engine(folder)
    ids = engine.render_chat([{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}])
    assert engine.tokenizer.decode(ids) == "<|user|>be\n\nhi</s><|assistant|>"


def test_a_model_without_a_template_cannot_chat(llama: Path, tmp_path: Path, make_engine: Factory) -> None:
    folder = shutil.copytree(llama, tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UnsupportedModel, match="no chat template"):
        make_engine(folder).render_chat([{"role": "user", "content": "hi"}])


def test_llm_generates_in_order_with_text_that_matches_its_tokens(llama: Path, generate: Factory) -> None:
    llm = LLM(str(llama), num_kv_blocks=64, max_num_seqs=2)
    prompts = ["the quick brown", "over the lazy dog and", "fox"]
    outputs = llm.generate(prompts, SamplingParams(max_tokens=6, temperature=0.0))
    for prompt, output in zip(prompts, outputs, strict=True):
        tokens = generate(llama, llm.engine.tokenizer.encode(prompt), 6)
        assert (output.prompt, output.outputs[0].token_ids) == (prompt, tokens)
        assert llm.engine.tokenizer.decode(tokens).startswith(output.outputs[0].text.rstrip())
        assert output.outputs[0].finish_reason == "length"


def test_llm_raises_when_a_step_fails(llama: Path) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    llm = LLM(str(llama), num_kv_blocks=64)
    before_each_forward(llm.engine, fail)
    with pytest.raises(EngineError, match="broken"):
        llm.generate(["fox"], SamplingParams())
