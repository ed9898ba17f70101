import math
import random
import statistics
from itertools import pairwise

import pytest

from benchmarks.figures import Answer
from benchmarks.loads import Lengths, decode, streams
from benchmarks.scenarios import (
    LONG_DUE,
    arrivals,
    interference,
    lognormal,
    long_context,
    multi_turn,
    noisy_neighbour,
    sharegpt,
)

LENGTHS = Lengths(prefix=20, prompt=4, output=8, vocabulary=500)


def test_streams_share_a_prefix_and_nothing_else() -> None:
    case = streams(LENGTHS, 16)
    (wave,) = case.waves(0)
    assert {tuple(ask.prompt[:20]) for ask in wave} == {tuple(case.prefix)}
    assert len({tuple(ask.prompt[20:]) for ask in wave}) == 16
    assert {len(ask.prompt) + ask.max_tokens for ask in wave} == {case.longest}


def test_every_engine_is_asked_the_same_and_every_round_something_new() -> None:
    case = streams(LENGTHS, 4)
    assert case.waves(1) == case.waves(1)
    assert case.waves(1) != case.waves(2)


def test_one_stream_is_asked_several_times() -> None:
    assert [len(wave) for wave in streams(LENGTHS, 1).waves(0)] == [1, 1, 1, 1]


def test_decode_asks_the_same_prompts_again_and_rates_their_first_time() -> None:
    case = decode(LENGTHS, 2)
    first, second = case.waves(0)
    assert [ask.prompt for ask in first] == [ask.prompt for ask in second]
    assert [ask.max_tokens for ask in first] == [1, 1]
    waves = [{"0": Answer(0.0, 24, [0.5]), "1": Answer(0.0, 24, [2.0])}, {}]
    assert case.more([waves]) == {"prefill_tokens_per_second": 24.0}


def test_lengths_are_lognormal_within_their_bounds() -> None:
    rng = random.Random(1)
    drawn = [lognormal(rng, 100, 0.8, 100_000) for _ in range(20_000)]
    assert statistics.median(drawn) == pytest.approx(100, rel=0.03)
    assert statistics.mean(drawn) == pytest.approx(100 * math.exp(0.8**2 / 2), rel=0.03)
    assert {lognormal(rng, 100, 0.8, 5) for _ in range(100)} == {5}


def test_arrivals_are_poisson() -> None:
    times = arrivals(random.Random(1), 4.0, 40_000)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert statistics.mean(gaps) == pytest.approx(0.25, rel=0.02)
    assert statistics.stdev(gaps) == pytest.approx(0.25, rel=0.02)  # as exponential gaps have it


def test_goodput_counts_answers_that_kept_both_promises() -> None:
    case = sharegpt(LENGTHS, 2.0, 4, first_ms=500, gap_ms=100)
    good = Answer(1.0, 30, [1.4, 1.45], finished=True)
    late = Answer(1.0, 30, [1.6, 1.7], finished=True)
    slow = Answer(1.0, 30, [1.1, 4.0], finished=True)
    cut = Answer(1.0, 30, [1.4, 1.45])
    wave = {"good": good, "late": late, "slow": slow, "cut": cut}
    assert case.more([[wave]]) == {"slo_met": 0.25, "goodput_per_second": 0.25}


def test_a_conversation_asks_on_from_its_own_answers() -> None:
    (wave,) = multi_turn(LENGTHS, 2, 3).waves(0)
    assert [(ask.name, ask.follows) for ask in wave[:3]] == [("0.0", ""), ("0.1", "0.0"), ("0.2", "0.1")]
    assert [len(ask.prompt) for ask in wave[:3]] == [24, 4, 4]


def test_the_hit_rate_is_that_of_later_turns() -> None:
    wave = {"0.0": Answer(0.0, 24, [1.0], cached_tokens=0), "0.1": Answer(1.0, 40, [1.25], cached_tokens=30)}
    assert multi_turn(LENGTHS, 1, 2).more([[wave]]) == {"later_first_token_p50_ms": 250.0, "hit_rate": 0.75}


def test_interference_looks_at_the_gaps_while_the_long_prompt_is_computed() -> None:
    _, disturbed = interference(LENGTHS)
    (wave,) = disturbed.waves(0)
    assert [(ask.name, len(ask.prompt), ask.due) for ask in wave[-1:]] == [("long", 12_000, LONG_DUE)]
    decoder = Answer(0.0, 4, [0.5, 0.9, 1.1, 1.6, 9.0])
    figures = disturbed.more([[{"0": decoder, "long": Answer(1.0, 12_000, [2.0])}]])
    assert figures == {"decoder_gap_p50_ms": 500.0, "decoder_gap_p99_ms": 500.0}  # those ending at 1.1 and 1.6


def test_neighbours_are_told_apart_by_tenant() -> None:
    case = noisy_neighbour(LENGTHS, 16)
    (wave,) = case.waves(0)
    assert sum(ask.tenant == "loud" for ask in wave) == 48
    answers = {"l": Answer(0.0, 4, [3.0], tenant="loud"), "p": Answer(1.0, 4, [1.5], tenant="polite 0")}
    assert case.more([[answers]]) == {"loud_first_p95_ms": 3000.0, "polite_first_p95_ms": 500.0}


def test_long_contexts_rate_the_prompt() -> None:
    case = long_context(LENGTHS, 1000)
    assert len(case.waves(0)[0][0].prompt) == 1000
    assert case.more([[{"0": Answer(0.0, 1000, [4.0, 5.0])}]]) == {"prefill_tokens_per_second": 250.0}
