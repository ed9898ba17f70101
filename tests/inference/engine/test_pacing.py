"""How much prompt goes beside decodes: real scheduler and pacer, a machine that is only a formula."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from inference.engine.pacing import (
    BURST_REST,
    BURST_STEPS,
    FIRST_CHUNK,
    LEAST_TOKENS,
    LONGEST,
    LONGEST_BESIDE_YOUNG,
    PATIENCE,
    REMEASURE,
    STRETCH,
    YOUNG,
    MemoryLimits,
    Pacer,
)
from inference.engine.sequence import Chunk
from inference.worker.link import HANG_SECONDS
from tests.inference.engine.test_scheduler import make_scheduler, make_sequence

BUDGET = 512

Machine = Callable[[list[Chunk]], float]  # seconds that a step takes


def cpu(chunks: list[Chunk]) -> float:
    """Weights are read once, a token costs its products, and attention what lies behind it."""
    tokens = sum(chunk.length for chunk in chunks)
    looks = sum(chunk.length * chunk.end for chunk in chunks)
    return 0.004 + 0.0002 * tokens + 4e-8 * looks


def gpu(chunks: list[Chunk]) -> float:
    """Steps of decodes alone are recorded and launched at once; of others every kernel is launched by itself."""
    tokens = sum(chunk.length for chunk in chunks)
    return 0.006 + 2e-5 * tokens if tokens == len(chunks) else 0.015 + 5e-5 * tokens


def noisy(machine: Machine, share: float) -> Machine:
    numbers = random.Random(1)
    return lambda chunks: machine(chunks) * numbers.uniform(1 - share, 1 + share)


def decodes(number: int) -> list[Chunk]:
    return [Chunk(make_sequence(str(n), 100), 99, 1) for n in range(number)]


def prompt(length: int) -> Chunk:
    return Chunk(make_sequence("long", length), 0, length)


def interfere(machine: Machine, pacer: Pacer | None) -> tuple[list[float], list[float]]:
    """Steps' seconds of 32 answers by themselves, and while a prompt of 12,000 tokens is read beside them."""
    scheduler = make_scheduler(num_blocks=16_000, max_num_seqs=40, budget=BUDGET)
    for n in range(32):
        scheduler.add(make_sequence(f"answer{n}", 8))
    alone: list[float] = []
    beside: list[float] = []
    late = make_sequence("late", 12_000, arrival=1)
    for step in range(1000):
        if step == 50:
            scheduler.add(late)
        if late.num_remaining == 0:
            return alone[1:], beside
        chunks = scheduler.schedule(pacer.limit(scheduler.num_decoding) if pacer else None)
        seconds = machine(chunks)
        if pacer:
            pacer.observe(chunks, seconds)
        scheduler.advance(chunks)
        for chunk in chunks:
            if chunk.end == len(chunk.sequence.token_ids) and chunk.sequence is not late:
                chunk.sequence.token_ids.append(7)
        (alone if step < 50 else beside).append(seconds)
    raise AssertionError("the prompt was never read")


def test_a_long_prompt_stretches_no_gap_of_32_answers_to_more_than_twice() -> None:
    alone, beside = interfere(cpu, Pacer(BUDGET))
    assert max(beside) <= 2 * max(alone)


def test_a_long_prompt_is_read_in_a_few_times_the_time_that_it_takes_by_itself() -> None:
    _, beside = interfere(cpu, Pacer(BUDGET))
    _, hasty = interfere(cpu, None)
    assert max(hasty) > 8 * min(beside), "or there was nothing to pace"
    assert sum(beside) < 4 * sum(hasty)


def read_beside(machine: Machine, warm: int, length: int = 4000, answers: int = 16) -> list[float]:
    """Steps' seconds while a prompt of ``length`` is read beside answers, the first to one of ``warm`` tokens."""
    scheduler, pacer = make_scheduler(num_blocks=16_000, max_num_seqs=40, budget=BUDGET), Pacer(BUDGET)
    late, beside = make_sequence("late", length, arrival=1), []
    for step in range(2000):
        if step % 2 == 0 and step // 2 < answers:
            scheduler.add(make_sequence(f"answer{step}", warm if step == 0 else 8))
        if step == 100:
            scheduler.add(late)
        if late.num_remaining == 0:
            return beside
        chunks = scheduler.schedule(pacer.limit(scheduler.num_decoding, scheduler.num_young(YOUNG)))
        seconds = machine(chunks)
        pacer.observe(chunks, seconds)
        scheduler.advance(chunks)
        for chunk in chunks:
            if chunk.end == len(chunk.sequence.token_ids) and chunk.sequence is not late:
                chunk.sequence.token_ids.append(7)
        beside += [seconds] if step >= 100 else []
    raise AssertionError("the prompt was never read")


@pytest.mark.parametrize("warm", [8, 20, 3000], ids=["all alike", "a few", "long ones before"])
@pytest.mark.parametrize("noise", [0.0, 0.03, 0.1])
def test_where_a_step_with_a_prompt_costs_more_whatever_its_size_few_are_made(warm: int, noise: float) -> None:
    """With nothing known of that cost it took 510 steps, each 2.6 times as long as one of decodes alone."""
    beside = read_beside(noisy(gpu, noise), warm)
    whole = gpu([prompt(16)]) * STRETCH
    assert len(beside) <= 60
    assert sum(beside) < 1.0, "of 0.5 in steps of the whole budget"
    assert sorted(beside)[len(beside) * 9 // 10] <= whole * 1.25


@pytest.mark.parametrize("warm", [8, 3000])
def test_where_a_token_costs_what_it_costs_no_gap_grows_by_looking_for_a_fixed_cost(warm: int) -> None:
    assert max(read_beside(noisy(cpu, 0.03), warm)) <= 2 * cpu(decodes(16)) * 1.1


def test_of_many_that_come_at_once_all_prompts_are_read_before_the_answers_get_going() -> None:
    scheduler, pacer = make_scheduler(num_blocks=16_000, max_num_seqs=40, budget=BUDGET), Pacer(BUDGET)
    for n in range(32):
        scheduler.add(make_sequence(f"answer{n}", 100))
    written = []
    for _ in range(12):
        chunks = scheduler.schedule(pacer.limit(scheduler.num_decoding, scheduler.num_young(YOUNG)))
        pacer.observe(chunks, cpu(chunks))
        scheduler.advance(chunks)
        drawing = [chunk.sequence for chunk in chunks if chunk.end == len(chunk.sequence.token_ids)]
        for sequence in drawing:
            sequence.token_ids.append(7)
        written.append(len(drawing))
    assert written[8] == 32, "64 tokens at first, then 512 a step: 3,200 take eight"


@pytest.mark.parametrize("num_young", [0, 1, 8])
def test_answers_that_are_well_under_way_are_not_held_up_for_a_burst(num_young: int) -> None:
    pacer = Pacer(BUDGET)
    pacer.observe(decodes(16), 0.01)
    pacer.observe([prompt(BUDGET)], 0.1)
    assert pacer.limit(16, num_young) == pacer.limit(16)
    assert pacer.limit(16, 9) == BUDGET


def test_an_endless_stream_of_short_answers_comes_first_in_few_steps_only() -> None:
    pacer = Pacer(BUDGET)
    pacer.observe(decodes(16), 0.01)
    pacer.observe([prompt(BUDGET)], 0.1)
    paced = pacer.limit(16)
    first = sum(pacer.limit(16, 16) > paced for _ in range(1000))
    assert first <= BURST_STEPS + 1000 / BURST_REST


def test_a_burst_stalls_no_answer_of_a_large_model_for_long() -> None:
    pacer = Pacer(BUDGET)
    pacer.observe(decodes(16), 0.1)
    pacer.observe([prompt(BUDGET)], 2.0)
    assert pacer.limit(16, 16) == BUDGET // 2 * LONGEST_BESIDE_YOUNG


def test_without_decodes_a_prompt_gets_what_is_known_to_be_quick() -> None:
    pacer = Pacer(BUDGET)
    assert pacer.limit(0) == FIRST_CHUNK
    pacer.observe([prompt(FIRST_CHUNK)], 0.01)
    assert pacer.limit(0) == BUDGET


def test_no_step_of_a_model_that_takes_an_eighth_of_a_second_for_a_token_outlasts_a_links_patience() -> None:
    pacer, longest = Pacer(BUDGET), 0.0
    for _ in range(100):
        tokens = pacer.limit(0)
        longest = max(longest, tokens / 8)
        pacer.observe([prompt(tokens)], tokens / 8)
    assert tokens == LONGEST * 8
    assert longest < HANG_SECONDS


def test_decodes_go_alone_once_so_that_they_are_measured_and_again_from_time_to_time() -> None:
    pacer = Pacer(BUDGET)
    assert pacer.limit(4) == 0
    pacer.observe(decodes(4), 0.01)
    for _ in range(REMEASURE):
        assert pacer.limit(4) > 0
        pacer.observe([*decodes(4), prompt(40)], 0.018)
    assert pacer.limit(4) == 0
    assert pacer.limit(9) == 0, "nine take longer than four"


@pytest.mark.parametrize(("seconds_of_a_chunk", "limit"), [(10.0, 8), (1e-5, 512)])
def test_a_prompt_always_moves_on_and_never_past_the_budget(seconds_of_a_chunk: float, limit: int) -> None:
    pacer = Pacer(BUDGET)
    pacer.observe([prompt(500)], seconds_of_a_chunk)
    pacer.observe(decodes(4), 0.01)
    assert pacer.limit(4) == limit


def test_the_chunk_takes_three_quarters_of_what_decodes_take() -> None:
    pacer = Pacer(BUDGET)
    pacer.observe([prompt(500)], 0.05)  # 0.1 ms a token
    pacer.observe(decodes(4), 0.02)
    assert pacer.limit(4) == 150


def test_memory_limits_go_down_by_halves_tokens_first_and_end_at_one_sequence() -> None:
    limits = MemoryLimits(512, 32)
    steps = [[*decodes(4), prompt(60)], decodes(4), decodes(2), decodes(1)]
    seen = [(limits.shrink(step), limits.tokens, limits.seqs) for step in steps]
    assert seen == [(True, 32, 32), (True, LEAST_TOKENS, 2), (True, LEAST_TOKENS, 1), (False, LEAST_TOKENS, 1)]


def test_memory_limits_grow_back_after_many_good_steps_and_no_further_than_configured() -> None:
    limits = MemoryLimits(50, 6)
    limits.shrink([*decodes(2), prompt(40)])
    limits.shrink(decodes(4))
    seen = []
    for _ in range(4):
        seen.append((limits.tokens, limits.seqs))
        for _ in range(PATIENCE):
            limits.recover()
    assert seen == [(16, 2), (32, 4), (50, 6), (50, 6)]
