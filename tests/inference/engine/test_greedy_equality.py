"""Greedy decoding in float32 writes what transformers' ``generate`` writes, token for token.

One table of architectures, each for what it asks of attention: alone, batched, chunked, prefix-cached,
preempted, resumed; with steps one after another and overlapping.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.inference.engine.driving import drain, greedy, tokens_of

EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = {"q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}

DECODER: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 8},
    "qwen2": {},  # biases on queries, keys and values
    "qwen3": {},  # norms on queries and keys
    "gemma2": {"sliding_window": 8},  # alternating windows, squashed scores, norms around
    "gemma3_text": {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "phi3": {"sliding_window": 8},  # one matrix for queries, keys and values
    "smollm3": {"no_rope_layers": [1, 0, 1]},
    "olmo2": {},  # norms after, and over whole rows of queries and keys
    "granite": {
        "embedding_multiplier": 4.0,
        "residual_multiplier": 0.5,
        "attention_multiplier": 0.3,
        "logits_scaling": 3,
    },
}
TRANSFORMERS: dict[str, dict[str, Any]] = {
    "phi": {"num_key_value_heads": 4},  # rotates a part of each head
    "gpt_neox": {},
    "gpt2": {"n_layer": 3, "n_head": 4, "n_embd": 64, "n_positions": 256},  # learned positions
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},  # learned positions with an offset
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"num_experts": 4, **EXPERTS},
    "deepseek_v3": {
        "num_key_value_heads": 4,
        "head_dim": 8,
        "n_routed_experts": 4,
        "n_group": 2,
        "topk_group": 1,
        **EXPERTS,
        **LATENT,
    },
}
ARCHITECTURES = DECODER | TRANSFORMERS
EXACT = {"dtype": "float32", "weights": "float32"}
NEW_TOKENS = 24

rng = random.Random(7)
PROMPTS = [[rng.randrange(6, 400) for _ in range(length)] for length in (1, 5, 17, 40, 64, 3, 33, 12)]

Factory = Callable[..., Any]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, make_model: Callable[..., Path]) -> Path:
    return make_model(request.param, varied=True, **ARCHITECTURES[request.param])


@pytest.fixture(params=[False, True], ids=["in turn", "overlapping"])
def make_engine(make_engine: Factory, request: pytest.FixtureRequest) -> Factory:
    return lambda folder, **options: make_engine(folder, overlap=request.param, **EXACT, **options)


@pytest.fixture(scope="module")
def expected(folder: Path, generate: Factory) -> list[list[int]]:
    return [generate(folder, prompt, NEW_TOKENS) for prompt in PROMPTS]


def test_the_families_it_claims_are_computed_by_the_decoder(folder: Path, make_engine: Factory) -> None:
    ours = json.loads((folder / "config.json").read_text())["model_type"] in DECODER
    assert type(make_engine(folder).runner.model).__name__ == ("Decoder" if ours else "HfModel")


def test_a_single_request_equals_generate(folder: Path, expected: Any, make_engine: Factory) -> None:
    engine = make_engine(folder)
    for prompt, answer in zip(PROMPTS, expected, strict=True):
        engine.add_request("r", prompt, greedy(NEW_TOKENS))
        assert tokens_of(drain(engine)["r"]) == answer


def test_a_batch_equals_generate(folder: Path, expected: Any, make_engine: Factory) -> None:
    engine = make_engine(folder, max_batched_tokens=256)
    for number, prompt in enumerate(PROMPTS):
        engine.add_request(str(number), prompt, greedy(NEW_TOKENS))
    results = drain(engine)
    assert [tokens_of(results[str(number)]) for number in range(len(PROMPTS))] == expected


def test_interleaved_arrivals_with_chunked_prefill_equal_generate(
    folder: Path, expected: Any, make_engine: Factory
) -> None:
    engine = make_engine(folder, max_batched_tokens=9, max_num_seqs=5)
    waiting, results, step = list(enumerate(PROMPTS)), {}, 0
    while waiting or engine.has_unfinished:
        if waiting and step % 3 == 0:
            number, prompt = waiting.pop(0)
            engine.add_request(str(number), prompt, greedy(NEW_TOKENS))
        for output in engine.step():
            results.setdefault(output.request_id, []).append(output)
        step += 1
    assert [tokens_of(results[str(number)]) for number in range(len(PROMPTS))] == expected


def test_a_cached_prefix_changes_nothing(folder: Path, expected: Any, make_engine: Factory) -> None:
    engine, prompt = make_engine(folder), PROMPTS[3]
    for cached in (0, 36):  # 40 tokens, of which the last block is always computed
        engine.add_request("r", prompt, greedy(NEW_TOKENS))
        outputs = drain(engine)["r"]
        assert (outputs[-1].cached_tokens, tokens_of(outputs)) == (cached, expected[3])


def test_equal_prompts_in_one_step_share_blocks_that_the_step_itself_writes(
    folder: Path, expected: Any, make_engine: Factory
) -> None:
    engine = make_engine(folder, max_batched_tokens=256)
    for number in range(3):
        engine.add_request(str(number), PROMPTS[3], greedy(NEW_TOKENS))
    results = drain(engine)
    assert [results[str(number)][-1].cached_tokens for number in range(3)] == [0, 36, 36]
    assert [tokens_of(results[str(number)]) for number in range(3)] == [expected[3]] * 3


def test_preempted_sequences_equal_generate(folder: Path, expected: Any, make_engine: Factory) -> None:
    engine = make_engine(folder, num_kv_blocks=26, max_batched_tokens=32)
    for number, prompt in enumerate(PROMPTS):
        engine.add_request(str(number), prompt, greedy(NEW_TOKENS))
    results = drain(engine)
    assert engine.counters()["preemptions"] > 0
    assert [tokens_of(results[str(number)]) for number in range(len(PROMPTS))] == expected


def test_a_resumed_answer_goes_on_as_generate_would(folder: Path, expected: Any, make_engine: Factory) -> None:
    engine = make_engine(folder)
    for number, (prompt, answer) in enumerate(zip(PROMPTS, expected, strict=True)):
        engine.add_request(str(number), prompt, greedy(NEW_TOKENS), resume_token_ids=answer[: number + 1])
    results = drain(engine)
    for number, answer in enumerate(expected):
        assert tokens_of(results[str(number)]) == answer[number + 1 :]
        assert results[str(number)][-1].output_tokens == NEW_TOKENS
