"""What transformers' own serving does not do. Default block size, float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inference.errors import PromptTooLong
from tests.inference.engine.driving import drain, greedy, tokens_of

PREFIX = [7 + number for number in range(40)]

Factory = Callable[..., Any]


@pytest.fixture
def make_engine(make_engine: Factory) -> Factory:
    return lambda **options: make_engine(block_size=16, dtype="float32", **options)


@pytest.mark.parametrize(("common", "cached"), [(15, 0), (16, 16), (31, 16), (32, 32), (40, 32)])
def test_a_prefix_is_shared_by_blocks_of_16_tokens(common: int, cached: int, make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("first", [*PREFIX, 300], greedy(1))
    drain(engine)
    engine.add_request("second", [*PREFIX[:common], *range(200, 260)], greedy(1))
    assert drain(engine)["second"][-1].cached_tokens == cached


def test_another_tenant_finds_nothing_of_it(make_engine: Factory) -> None:
    engine = make_engine()
    cached = []
    for tenant in ("a", "b", "a"):
        engine.add_request("r", PREFIX, greedy(1), tenant=tenant)
        cached.append(drain(engine)["r"][-1].cached_tokens)
    assert cached == [0, 0, 32]


def test_a_prompt_larger_than_the_cache_is_refused_while_the_others_go_on(make_engine: Factory) -> None:
    engine = make_engine(num_kv_blocks=8)
    engine.add_request("running", PREFIX, greedy(30))
    first = engine.step()
    with pytest.raises(PromptTooLong, match="128 tokens; 127 fit"):
        engine.add_request("huge", [50] * 128, greedy(1))
    outputs = first + drain(engine)["running"]
    assert len(tokens_of(outputs)) == 30
    engine.add_request("largest that fits", [50] * 127, greedy(30))
    assert tokens_of(drain(engine)["largest that fits"])


def test_answers_that_outgrow_the_cache_together_are_all_written(make_engine: Factory) -> None:
    alone = make_engine()
    alone.add_request("r", PREFIX, greedy(60))
    expected = tokens_of(drain(alone)["r"])
    engine = make_engine(num_kv_blocks=16)  # four answers of 100 tokens need 28
    for number in range(4):
        engine.add_request(str(number), PREFIX, greedy(60), tenant=str(number))
    results = drain(engine)
    assert engine.counters()["preemptions"] > 0
    assert [tokens_of(results[str(number)]) for number in range(4)] == [expected] * 4


def test_an_aborted_answers_blocks_serve_the_very_next_step(make_engine: Factory) -> None:
    engine = make_engine(num_kv_blocks=8)
    engine.add_request("gone", PREFIX * 2, greedy(40))
    engine.step()
    engine.step()
    engine.add_request("waits", [90] * 80, greedy(1), tenant="other")
    engine.step()
    assert engine.counters()["waiting"] == 1
    engine.abort("gone")
    assert engine.counters()["kv_blocks_used"] == 0
    engine.step()
    assert (engine.counters()["running"], engine.counters()["waiting"]) == (1, 0)
