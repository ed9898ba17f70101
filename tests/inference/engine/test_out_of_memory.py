"""A machine without the memory for a step: less is tried, and only what can never work is given up."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from inference.engine import LLMEngine
from inference.engine.batch import Batch
from inference.engine.pacing import PATIENCE
from inference.engine.sequence import Chunk
from tests.inference.engine.driving import drain, greedy, tokens_of

PROMPTS = [[10 * n + k for k in range(6, 40)] for n in range(5)]
CPU_ERROR = RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried …")

Factory = Callable[..., Any]


@pytest.fixture(params=[False, True], ids=["in turn", "overlapping"])
def make_engine(make_engine: Factory, request: pytest.FixtureRequest) -> Factory:
    return lambda: make_engine(overlap=request.param)


def starve(engine: LLMEngine, enough: Callable[[list[Chunk]], bool], error: Exception = CPU_ERROR) -> list[int]:
    """From now on the machine computes only steps that are ``enough`` for it; the tokens of the others."""
    build, failed = engine.runner.backend.build, []

    def limited(chunks: list[Chunk], cache: Any) -> Batch:
        if not enough(chunks):
            failed.append(sum(chunk.length for chunk in chunks))
            raise error
        return build(chunks, cache)

    engine.runner.backend.build = limited
    return failed


def answers(engine: LLMEngine) -> list[list[int]]:
    for number, prompt in enumerate(PROMPTS):
        engine.add_request(str(number), prompt, greedy(12), counter=float(number))
    results = drain(engine)
    return [tokens_of(results[str(number)]) for number in range(len(PROMPTS))]


@pytest.mark.parametrize("error", [CPU_ERROR, torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_step_that_is_too_large_is_computed_in_smaller_ones(error: Exception, make_engine: Factory) -> None:
    expected = answers(make_engine())
    engine = make_engine()
    failed = starve(engine, lambda chunks: sum(chunk.length for chunk in chunks) <= 20, error)
    assert answers(engine) == expected
    assert failed[:2] == [64, 32]
    assert set(failed[2:]) <= {32}, "what was launched already, and is launched again smaller"
    assert engine.counters()["failed_steps"] == engine.counters()["out_of_memory_steps"] == 2


def test_what_a_failed_step_had_computed_is_gone_before_the_next(make_engine: Factory) -> None:
    """Or the smaller step would have no more room than the larger one."""
    engine, alive = make_engine(), []
    forward, computed = engine.runner.backend.forward, []

    def failing(model: Any, batch: Batch) -> Tensor:
        alive.extend(tensor() is not None for tensor in computed)
        if computed:
            return forward(model, batch)
        activations = torch.ones(8)
        computed.append(weakref.ref(activations))
        raise MemoryError

    engine.runner.backend.forward = failing
    gc.disable()
    try:
        engine.add_request("a", PROMPTS[0], greedy(2))
        drain(engine)
    finally:
        gc.enable()
    assert len(alive) > 1
    assert not any(alive[1:])  # the first may have been launched before the failure was known


def test_too_many_sequences_run_one_after_another_the_most_served_tenant_last(make_engine: Factory) -> None:
    expected = answers(make_engine())
    engine = make_engine()
    starve(engine, lambda chunks: len(chunks) <= 2)
    assert answers(engine) == expected
    assert engine.counters()["kv_blocks_used"] == 0


def test_blocks_of_a_step_that_was_not_computed_are_not_found_in_the_prefix_cache(make_engine: Factory) -> None:
    engine = make_engine()
    starve(engine, lambda chunks: sum(chunk.length for chunk in chunks) <= 20)
    for name in ("writer", "reader"):  # the second finds in its first step what the first one would have written
        engine.add_request(name, PROMPTS[0], greedy(12))
    results = drain(engine)
    assert tokens_of(results["writer"]) == tokens_of(results["reader"]) == answers(make_engine())[0]


def test_what_never_fits_fails_alone_and_by_name(make_engine: Factory) -> None:
    expected = answers(make_engine())
    engine = make_engine()
    starve(engine, lambda chunks: not any(chunk.sequence.request_id == "2" for chunk in chunks))
    for number, prompt in enumerate(PROMPTS):
        engine.add_request(str(number), prompt, greedy(12))
    results = drain(engine)
    (failed,) = results.pop("2")
    assert (failed.finish_reason, failed.error_code, failed.text) == ("error", "out_of_memory", "")
    assert {name: tokens_of(outputs) for name, outputs in results.items()} == {
        str(number): tokens for number, tokens in enumerate(expected) if number != 2
    }
    assert engine.counters()["kv_blocks_used"] == 0


def test_when_memory_is_back_steps_grow_again(make_engine: Factory) -> None:
    engine, scarce = make_engine(), [True]
    starve(engine, lambda chunks: not scarce[0] or sum(chunk.length for chunk in chunks) <= 16)
    answers(engine)
    assert engine.scheduler.max_batched_tokens == 16
    scarce[0] = False
    engine.add_request("long", PROMPTS[0], greedy(200, ignore_eos=True))
    drain(engine)
    engine.add_request("long", PROMPTS[1], greedy(200, ignore_eos=True))
    drain(engine)
    assert PATIENCE < 400
    assert engine.scheduler.max_batched_tokens == 32
