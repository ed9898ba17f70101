"""What a sequence wrote before it had logits that are finite stays in no cache, whichever way the sequence goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from inference.engine import EngineConfig, LLMEngine, SamplingParams
from tests.inference.engine.driving import drain, greedy, tokens_of

POISON = 399
LONG = [POISON, *((7 * k) % 380 + 6 for k in range(95))]  # four chunks of 24
SHARED = 20  # tokens at its beginning that are the operator's
OTHER = [(11 * k) % 380 + 6 for k in range(30)]

Factory = Callable[..., LLMEngine]


class Spoiler:
    """A machine that makes NaN of a token for as long as it is ``on``."""

    def __init__(self, engine: LLMEngine) -> None:
        self.on = True
        model: Any = engine.runner.model
        self._embedding, model.embedding = model.embedding, self

    def __call__(self, ids: Tensor) -> Tensor:
        rows: Tensor = self._embedding(ids)
        return rows.masked_fill((ids == POISON).unsqueeze(-1), float("nan")) if self.on else rows


def spoiled_blocks(engine: LLMEngine) -> set[int]:
    """Blocks of the cache that hold what is not finite."""
    cache = engine.runner.cache
    tensors = [*cache.keys.values(), *cache.values.values()]
    bad = torch.stack([~tensor.flatten(1).isfinite().all(1) for tensor in tensors]).any(0)
    return set(bad.nonzero().flatten().tolist())


def be_aborted(engine: LLMEngine) -> None:
    assert engine.abort("long")


def give_way_to_a_better_band(engine: LLMEngine) -> None:
    for number in range(8):
        engine.add_request(f"better {number}", OTHER, greedy(30), tenant="better")
    while not engine.counters()["preemptions"]:
        assert engine.step() or engine.has_unfinished


def lack_memory(engine: LLMEngine) -> None:
    _break_once(engine, MemoryError())


def be_in_a_step_that_fails(engine: LLMEngine) -> None:
    _break_once(engine, RuntimeError("broken"))


def _break_once(engine: LLMEngine, error: Exception) -> None:
    build, broken = engine.runner.backend.build, [True]

    def break_once(*args: Any) -> Any:
        if broken.pop() if broken else False:
            raise error
        return build(*args)

    engine.runner.backend.build = break_once  # type: ignore[method-assign]
    engine.step()


def be_aborted_in_a_step_that_fails(engine: LLMEngine) -> None:
    _break_once(engine, RuntimeError("broken"))
    engine.abort("long")


WAYS = [
    be_aborted,
    give_way_to_a_better_band,
    lack_memory,
    be_in_a_step_that_fails,
    be_aborted_in_a_step_that_fails,
]
MACHINES: dict[str, dict[str, Any]] = {
    "in turn": {"overlap": False},
    "overlapping": {"overlap": True},
    "on the kernels": {"overlap": True, "block_size": 16, "num_kv_blocks": 80, "weights": "int8"},
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_of_a_prompt_that_was_not_read_to_its_end_reaches_others(
    way: Callable[[LLMEngine], None], machine: str, make_engine: Factory
) -> None:
    sound = make_engine(max_batched_tokens=24, **MACHINES[machine])
    engine = make_engine(max_batched_tokens=24, **MACHINES[machine])
    spoiler = Spoiler(engine)
    engine.add_request("long", LONG, greedy(6), tenant="a", band=1, shared_prefix_tokens=SHARED)
    engine.step()
    engine.step()
    assert spoiled_blocks(engine)
    way(engine)
    spoiler.on = False
    for name in "ab":
        for each in (engine, sound):
            each.add_request(name, LONG, greedy(6), tenant=name, shared_prefix_tokens=SHARED)
    results, expected = drain(engine), drain(sound)
    assert [tokens_of(results[name]) for name in "ab"] == [tokens_of(expected[name]) for name in "ab"]
    assert results["a"][-1].cached_tokens == 0
    assert not spoiled_blocks(engine)
    assert engine.counters()["kv_blocks_used"] == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_who_shares_a_block_that_turns_out_spoiled_is_computed_without_it(machine: str, make_engine: Factory) -> None:
    sound = make_engine(max_batched_tokens=24, **MACHINES[machine])
    engine = make_engine(max_batched_tokens=24, **MACHINES[machine])
    spoiler = Spoiler(engine)
    engine.add_request("long", LONG, greedy(6), tenant="a", shared_prefix_tokens=SHARED)
    engine.step()
    engine.step()
    spoiler.on = False
    for each in (engine, sound):
        for name, length in (("a", 40), ("b", 23)):
            each.add_request(name, LONG[:length], greedy(6), tenant=name, shared_prefix_tokens=SHARED, counter=-1.0)
    results, expected = drain(engine), drain(sound)
    assert [tokens_of(results[name]) for name in "ab"] == [tokens_of(expected[name]) for name in "ab"]
    assert [output.finish_reason for output in results["long"]] == ["error"]
    engine.add_request("later", OTHER, greedy(1))
    drain(engine)
    assert not spoiled_blocks(engine)


@pytest.mark.parametrize("overlap", [False, True])
def test_who_gives_way_for_blocks_leaves_none_spoiled(
    overlap: bool, llama: Path, make_engine: Factory, generate: Callable[..., list[int]]
) -> None:
    engine = make_engine(num_kv_blocks=26, max_batched_tokens=9, overlap=overlap)
    spoiler = Spoiler(engine)
    engine.add_request("growing", OTHER[:7], greedy(40))
    engine.step()
    engine.add_request("long", LONG[:88], greedy(2), counter=1.0)
    while not engine.counters()["preemptions"]:
        assert engine.step() or engine.has_unfinished
    assert engine.scheduler.waiting[0].num_output == 0
    spoiler.on = False
    results = drain(engine)
    assert tokens_of(results["long"]) == generate(llama, LONG[:88], 2)
    assert results["long"][-1].finish_reason == "length"
    assert not spoiled_blocks(engine)


def test_the_token_too_many_of_an_answer_that_has_ended_leaves_nothing_behind(make_engine: Factory) -> None:
    engine = make_engine(overlap=True)
    Spoiler(engine)
    ends = SamplingParams(max_tokens=9, temperature=0.0, logit_bias={POISON: 100.0}, stop_token_ids=[POISON])
    engine.add_request("ends", OTHER, ends)
    assert drain(engine)["ends"][-1].finish_reason == "stop"
    engine.add_request("later", OTHER[:3], greedy(2))
    drain(engine)
    assert not spoiled_blocks(engine)


def test_what_is_sound_stays_known_whoever_aborts(make_engine: Factory) -> None:
    engine = make_engine(max_batched_tokens=24)
    engine.add_request("first", OTHER, greedy(3))
    drain(engine)
    engine.add_request("aborted", [*OTHER, *LONG], greedy(3))
    engine.step()
    engine.abort("aborted")
    engine.add_request("again", OTHER, greedy(3))
    assert drain(engine)["again"][-1].cached_tokens == 28


def test_who_shares_blocks_with_an_aborted_prompt_goes_on_and_keeps_them_known(make_engine: Factory) -> None:
    engine = make_engine(max_batched_tokens=24)
    for name in ("aborted", "goes on"):
        engine.add_request(name, LONG, greedy(3))
    for _ in range(4):
        engine.step()
    engine.abort("aborted")
    drain(engine)
    engine.add_request("later", LONG, greedy(3))
    assert drain(engine)["later"][-1].cached_tokens == 92


PROMPT = st.tuples(
    st.just("add"),
    st.integers(1, 70),  # tokens
    st.none() | st.integers(0, 69),  # where the poison is
    st.integers(0, 2),  # which prefix
    st.integers(0, 1),  # band
    st.sampled_from("ab"),
)
DEED = PROMPT | st.tuples(st.just("step"), st.integers(1, 4)) | st.tuples(st.just("abort"), st.integers(0, 9))


@pytest.fixture(scope="module", params=[False, True], ids=["in turn", "overlapping"])
def scarce(request: pytest.FixtureRequest, llama: Path) -> LLMEngine:
    options = {"block_size": 4, "num_kv_blocks": 30, "max_num_seqs": 4, "max_batched_tokens": 16}
    engine = LLMEngine(EngineConfig(model=str(llama), overlap=request.param, **options))
    Spoiler(engine)
    return engine


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deeds=st.lists(DEED, min_size=5, max_size=40))
def test_no_free_block_and_no_known_prefix_is_ever_spoiled(deeds: list[Any], scarce: LLMEngine) -> None:
    added: list[str] = []
    for deed in [*deeds, *[("abort", n) for n in range(40)]]:
        if deed[0] == "add":
            _, length, place, prefix, band, tenant = deed
            prompt = [(13 * prefix + 7 * k) % 380 + 6 for k in range(length)]
            if place is not None and place < length:
                prompt[place] = POISON
            added.append(f"{len(added)}")
            scarce.add_request(added[-1], prompt, greedy(5), band=band, tenant=tenant, shared_prefix_tokens=8)
        elif deed[0] == "step":
            for _ in range(deed[1]):
                scarce.step()
                look_at_free_blocks(scarce)
        elif deed[1] < len(added):
            scarce.abort(added[deed[1]])
    drain(scarce)
    scarce.add_request("last", OTHER[:5], greedy(1))
    assert drain(scarce)["last"][-1].finish_reason == "length"
    assert not spoiled_blocks(scarce)


def look_at_free_blocks(engine: LLMEngine) -> None:
    """Between two steps, those to be wiped before the next are no harm: nobody finds them."""
    blocks = engine.blocks
    owned = {block_id for seq in engine.scheduler.running for block_id in seq.block_table}
    spoiled = spoiled_blocks(engine) - owned
    assert spoiled <= set(blocks.dirty)
    assert not any(block_id in spoiled for block_id in blocks._cached.values())


class Operations(TorchDispatchMode):
    """Counts what is launched."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **kwargs or {})


def test_to_abort_a_prompt_of_30_000_tokens_launches_a_few_operations(
    make_model: Callable[..., Path], make_engine: Factory
) -> None:
    folder = make_model("llama", max_position_embeddings=32768, num_hidden_layers=8)
    engine = make_engine(folder, block_size=16, num_kv_blocks=2048, max_batched_tokens=2048, overlap=True)
    engine.add_request("long", [(7 * k) % 380 + 6 for k in range(30_000)], greedy(2))
    while engine.counters()["computed_tokens"] < 10_000:
        engine.step()
    (seq,) = engine.scheduler.running
    written = -(-seq.num_computed // 16)
    with Operations() as operations:
        engine.abort("long")
        assert len(set(engine.blocks.dirty)) == len(engine.blocks.dirty) == written < 30_000 // 16
        engine.runner.wipe(engine.blocks.dirty)
    assert len(operations.names) <= 8, operations.names
    assert not any(store[block].any() for store in engine.runner.cache.keys.values() for block in engine.blocks.dirty)
