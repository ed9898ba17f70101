"""What a step computes: budget, order, preemption. No model, no clock."""

from __future__ import annotations

from array import array
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from inference.engine.block_manager import BlockManager
from inference.engine.sampling_params import SamplingParams
from inference.engine.scheduler import Scheduler
from inference.engine.sequence import Chunk, Sequence

BLOCK_SIZE = 4
distinct = count(1000)


def make_scheduler(num_blocks: int = 64, max_num_seqs: int = 4, budget: int = 16) -> Scheduler:
    return Scheduler(BlockManager(num_blocks, BLOCK_SIZE, b"secret"), max_num_seqs, budget)


def make_sequence(name: str, length: int, band: int = 0, counter: float = 0.0, arrival: int = 0) -> Sequence:
    tokens = array("i", (next(distinct) for _ in range(length)))  # no two share a prefix
    return Sequence(name, tokens, length, SamplingParams(), 0, 1000, (band, counter, arrival))


def add(scheduler: Scheduler, *seqs: Sequence) -> None:
    for seq in seqs:
        scheduler.add(seq)


def run_step(scheduler: Scheduler) -> list[tuple[str, int, int]]:
    """Schedule, pretend to compute, append a token where one is sampled; (name, start, length) per chunk."""
    chunks = scheduler.schedule()
    scheduler.advance(chunks)
    for chunk in chunks:
        if chunk.end == len(chunk.sequence.token_ids):
            scheduler.blocks.validate(chunk.sequence, chunk.end)
            chunk.sequence.token_ids.append(next(distinct))
    return [(chunk.sequence.request_id, chunk.start, chunk.length) for chunk in chunks]


def test_a_long_prompt_shares_its_steps_with_decodes() -> None:
    scheduler = make_scheduler(budget=8)
    add(scheduler, make_sequence("short", 3))
    assert run_step(scheduler) == [("short", 0, 3)]
    add(scheduler, make_sequence("long", 20))
    assert run_step(scheduler) == [("short", 3, 1), ("long", 0, 7)]
    assert run_step(scheduler) == [("short", 4, 1), ("long", 7, 7)]
    assert run_step(scheduler) == [("short", 5, 1), ("long", 14, 6)]
    assert run_step(scheduler) == [("short", 6, 1), ("long", 20, 1)]


def test_the_rest_of_the_budget_goes_to_the_next_in_line() -> None:
    scheduler = make_scheduler(budget=16)
    add(scheduler, make_sequence("b", 10, counter=2.0), make_sequence("a", 10, counter=1.0))
    assert run_step(scheduler) == [("a", 0, 10), ("b", 0, 6)]
    assert run_step(scheduler) == [("a", 10, 1), ("b", 6, 4)]


def test_equal_counters_go_by_arrival_and_bands_before_counters() -> None:
    scheduler = make_scheduler(budget=64)
    add(
        scheduler,
        make_sequence("batch", 1, band=1, counter=0.0, arrival=1),
        make_sequence("second", 1, counter=5.0, arrival=3),
        make_sequence("first", 1, counter=5.0, arrival=2),
    )
    assert [name for name, _, _ in run_step(scheduler)] == ["first", "second", "batch"]


def test_no_more_sequences_run_than_there_are_slots() -> None:
    scheduler = make_scheduler(max_num_seqs=2, budget=64)
    add(scheduler, *(make_sequence(str(number), 3, arrival=number) for number in range(3)))
    assert [name for name, _, _ in run_step(scheduler)] == ["0", "1"]


def test_nobody_overtakes_a_sequence_that_waits_for_blocks() -> None:
    scheduler = make_scheduler(num_blocks=8, budget=64)
    add(scheduler, make_sequence("running", 16, arrival=0))
    run_step(scheduler)
    add(scheduler, make_sequence("large", 20, arrival=1), make_sequence("small", 2, arrival=2))
    assert [name for name, _, _ in run_step(scheduler)] == ["running"]
    assert [seq.request_id for seq in scheduler.waiting] == ["large", "small"]


def test_the_lowest_priority_gives_its_blocks_back_and_is_computed_again() -> None:
    scheduler = make_scheduler(num_blocks=5, budget=64)
    first, last = make_sequence("first", 8, counter=1.0), make_sequence("last", 4, counter=2.0)
    add(scheduler, first, last)
    assert run_step(scheduler) == [("first", 0, 8), ("last", 0, 4)]
    for length in range(9, 13):  # three blocks for the first, two for the last: full
        assert run_step(scheduler) == [("first", length - 1, 1), ("last", length - 5, 1)]
    assert run_step(scheduler) == [("first", 12, 1)]
    assert (scheduler.num_preemptions, scheduler.waiting, last.num_computed) == (1, [last], 0)
    scheduler.finish(first)
    # Its own first blocks are still in the prefix cache, unless they were taken meanwhile.
    (chunk,) = scheduler.schedule()
    assert (chunk.sequence, chunk.end) == (last, 9)


def test_a_better_band_takes_the_place_of_batch_work() -> None:
    scheduler = make_scheduler(max_num_seqs=2, budget=64)
    add(scheduler, *(make_sequence(f"batch{n}", 4, band=1, counter=n) for n in range(2)))
    run_step(scheduler)
    add(scheduler, make_sequence("interactive", 4, band=0, counter=99.0))
    assert run_step(scheduler) == [("batch0", 4, 1), ("interactive", 0, 4)]
    assert [seq.request_id for seq in scheduler.waiting] == ["batch1"]


def test_a_better_band_takes_blocks_only_when_that_helps() -> None:
    scheduler = make_scheduler(num_blocks=8, budget=64)
    add(scheduler, make_sequence("interactive", 20, band=0))
    run_step(scheduler)
    add(scheduler, make_sequence("batch", 4, band=1))
    run_step(scheduler)
    add(scheduler, make_sequence("too large for now", 24, band=0))
    run_step(scheduler)
    assert {seq.request_id for seq in scheduler.running} == {"interactive", "batch"}
    assert scheduler.num_preemptions == 0


def test_prompts_get_no_more_beside_decodes_than_they_are_allowed() -> None:
    scheduler = make_scheduler(budget=16)
    add(scheduler, make_sequence("short", 3))
    run_step(scheduler)
    add(scheduler, make_sequence("long", 20))
    assert [(chunk.sequence.request_id, chunk.length) for chunk in scheduler.schedule(5)] == [("short", 1), ("long", 5)]
    assert [(chunk.sequence.request_id, chunk.length) for chunk in scheduler.schedule(0)] == [("short", 1)]


def test_a_prompt_moves_on_where_nothing_decodes_whatever_the_limit() -> None:
    scheduler = make_scheduler(budget=16)
    add(scheduler, make_sequence("long", 30))
    assert [chunk.length for limit in (0, 7) for chunk in scheduler.schedule(limit)] == [16, 7]


def test_a_retracted_step_leaves_everyone_in_line_and_only_what_was_sound_before_in_the_cache() -> None:
    scheduler = make_scheduler(budget=16)
    decoding, reading = make_sequence("decoding", 8), make_sequence("reading", 20, arrival=1)
    add(scheduler, decoding, reading)
    run_step(scheduler)
    chunks = scheduler.schedule()
    assert [(chunk.sequence, chunk.start, chunk.length) for chunk in chunks] == [(decoding, 8, 1), (reading, 8, 12)]
    scheduler.advance(chunks)
    scheduler.requeue(chunks)
    assert sorted(scheduler.blocks.dirty) == [2, 3, 4, 5, 6, 7]
    assert (scheduler.waiting, scheduler.running, scheduler.num_preemptions) == ([decoding, reading], [], 2)
    assert scheduler.blocks.num_free == 64
    assert run_step(scheduler) == [("decoding", 8, 1), ("reading", 0, 15)]


def test_the_blocks_of_a_failed_chunk_are_to_be_wiped() -> None:
    scheduler = make_scheduler()
    add(scheduler, make_sequence("r", 10))
    chunks = scheduler.schedule()
    scheduler.advance(chunks)
    scheduler.fail(chunks)
    assert sorted(scheduler.blocks.dirty) == [0, 1, 2]
    assert (scheduler.has_unfinished, scheduler.blocks.num_free) == (False, 64)


REQUEST = st.tuples(st.integers(1, 30), st.integers(1, 12), st.integers(0, 1), st.floats(0, 10), st.integers(0, 20))


@settings(max_examples=80, deadline=None)
@given(
    requests=st.lists(REQUEST, min_size=1, max_size=10),
    num_blocks=st.integers(11, 30),
    max_num_seqs=st.integers(1, 5),
    budget=st.integers(5, 40),
)
def test_every_sequence_ends_within_the_budget_and_no_block_is_lost(
    requests: list[tuple[int, int, int, float, int]], num_blocks: int, max_num_seqs: int, budget: int
) -> None:
    scheduler = make_scheduler(num_blocks, max_num_seqs, budget)
    coming = []
    for number, (length, new, band, counter, at) in enumerate(requests):
        seq = make_sequence(str(number), length, band, counter, number)
        seq.max_length = length + new
        coming.append((at, seq))
    for step in range(5000):
        add(scheduler, *(seq for at, seq in coming if at == step))
        preemptions, expected = scheduler.num_preemptions, scheduler.must_preempt
        chunks = scheduler.schedule()
        assert bool(chunks) == scheduler.has_unfinished
        assert expected or scheduler.num_preemptions == preemptions
        check_step(scheduler, chunks)
        scheduler.advance(chunks)
        for chunk in chunks:
            append_token(scheduler, chunk)
        if step > 20 and not scheduler.has_unfinished:
            break
    assert all(len(seq.token_ids) == seq.max_length for _, seq in coming)
    assert scheduler.blocks.num_free == num_blocks


def check_step(scheduler: Scheduler, chunks: list[Chunk]) -> None:
    assert sum(chunk.length for chunk in chunks) <= scheduler.max_batched_tokens
    assert len({id(chunk.sequence) for chunk in chunks}) == len(chunks) <= scheduler.max_num_seqs
    for chunk in chunks:
        assert chunk.length >= 1
        assert chunk.start == chunk.sequence.num_computed
        assert len(chunk.sequence.block_table) * BLOCK_SIZE >= chunk.end


def append_token(scheduler: Scheduler, chunk: Chunk) -> None:
    seq = chunk.sequence
    if chunk.end == len(seq.token_ids):
        seq.token_ids.append(next(distinct))
        if len(seq.token_ids) == seq.max_length:
            scheduler.finish(seq)
