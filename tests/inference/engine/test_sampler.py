"""Draws have the right support and the right distribution, and depend on their own sequence only."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest
import torch

from inference.engine.outputs import TokenLogprobs
from inference.engine.sampler import CHUNK, Sampler, _Weights, hashes, uniforms
from inference.engine.sampling_params import SamplingParams
from inference.engine.sequence import Sequence
from inference.engine.shaping import Shaping

DRAWS = 20_000


def make_sequence(seed: int = 0, written: int = 0, **params: Any) -> Sequence:
    tokens = array("i", [1] * (1 + written))
    return Sequence("r", tokens, 1, SamplingParams(**params), seed, 1000, (0, 0.0, 0))


def read(logits: torch.Tensor, seqs: list[Sequence]) -> tuple[list[int], dict[int, TokenLogprobs]]:
    return Sampler(logits.shape[-1], logits.device).prepare(seqs).draw(logits).read()


def sample(logits: torch.Tensor, seqs: list[Sequence]) -> list[int]:
    return read(logits, seqs)[0]


def draw(logits: list[float], **params: Any) -> np.ndarray[Any, Any]:
    """Counts of ``DRAWS`` draws with as many seeds."""
    seqs = [make_sequence(seed, **params) for seed in range(DRAWS)]
    tokens = sample(torch.tensor(logits).expand(DRAWS, -1), seqs)
    return np.bincount(tokens, minlength=len(logits))


def chi_square(counts: np.ndarray[Any, Any], probs: np.ndarray[Any, Any]) -> float:
    return float((((counts - DRAWS * probs) ** 2) / (DRAWS * probs)).sum())


def softmax(logits: list[float]) -> np.ndarray[Any, Any]:
    weights = np.exp(np.array(logits))
    return weights / weights.sum()


LOGITS = [2.0, 1.0, 0.5, 0.0, -1.0, -1.5, -2.0, -3.0]
CHI_SQUARE_7_DF = 24.3  # exceeded by chance once in a thousand


def test_temperature_zero_takes_the_highest_logit() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]])
    assert sample(logits, [make_sequence(temperature=0.0)] * 2) == [1, 0]


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.8])
def test_draws_follow_the_softmax_at_the_temperature(temperature: float) -> None:
    counts = draw(LOGITS, temperature=temperature)
    expected = softmax([logit / temperature for logit in LOGITS])
    assert chi_square(counts, expected) < CHI_SQUARE_7_DF


def test_successive_tokens_of_one_seed_follow_the_softmax() -> None:
    seqs = [make_sequence(seed=123, written=step % 1000) for step in range(1000)]
    seqs += [make_sequence(seed=seed, written=step) for seed in range(19) for step in range(1000)]
    tokens = sample(torch.tensor(LOGITS).expand(DRAWS, -1), seqs)
    counts = np.bincount(tokens, minlength=len(LOGITS))
    assert chi_square(counts, softmax(LOGITS)) < CHI_SQUARE_7_DF


def test_top_k_keeps_the_k_highest_in_proportion() -> None:
    shuffled = [LOGITS[i] for i in (3, 0, 7, 2, 5, 1, 6, 4)]
    counts = draw(shuffled, top_k=3)
    kept = [1, 5, 3]
    assert set(np.flatnonzero(counts)) == set(kept)
    expected = softmax([2.0, 1.0, 0.5])
    assert np.allclose(counts[kept] / DRAWS, expected, atol=0.012)


@pytest.mark.parametrize(("top_p", "kept"), [(0.1, 1), (0.54, 1), (0.55, 2), (0.74, 2), (0.75, 3), (0.999, 8)])
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p: float, kept: int) -> None:
    # Cumulative probabilities of LOGITS: 0.546, 0.747, 0.869, 0.943, ...
    assert list(np.flatnonzero(draw(LOGITS, top_p=top_p))) == list(range(kept))


def test_top_p_counts_what_top_k_left() -> None:
    # Of the three highest, the first has 0.629 and the first two 0.860 of the probability.
    assert list(np.flatnonzero(draw(LOGITS, top_k=3, top_p=0.62))) == [0]
    assert list(np.flatnonzero(draw(LOGITS, top_k=3, top_p=0.85))) == [0, 1]


def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest() -> None:
    # exp(-1) = 0.368, exp(-1.5) = 0.223, exp(-2) = 0.135 of the likeliest.
    assert list(np.flatnonzero(draw(LOGITS, min_p=0.36))) == [0, 1]
    assert list(np.flatnonzero(draw(LOGITS, min_p=0.2))) == [0, 1, 2]


def test_top_p_is_exact_when_the_nucleus_is_wider_than_the_first_guess() -> None:
    logits = torch.zeros(1, 5000)
    logits[0, 4000:] = -20.0
    seqs = [make_sequence(seed, top_p=0.99) for seed in range(3000)]
    tokens = sample(logits.expand(3000, -1), seqs)
    assert max(tokens) < 4000
    assert len(set(tokens)) > 1500


@pytest.mark.parametrize("vocabulary", [2 * CHUNK - 1, 2 * CHUNK, 3 * CHUNK + 1, 1000])
def test_the_first_of_several_highest_logits_is_taken(vocabulary: int) -> None:
    logits = torch.randint(0, 4, (50, vocabulary), generator=torch.Generator().manual_seed(vocabulary)).float()
    logits[0] = 0.0
    logits[1, -1] = 9.0
    assert sample(logits, [make_sequence(temperature=0.0)] * 50) == logits.numpy().argmax(-1).tolist()
    assert sample(logits.bfloat16(), [make_sequence(temperature=0.0)] * 50) == logits.numpy().argmax(-1).tolist()


@pytest.mark.parametrize("params", [{}, {"top_k": 400}, {"min_p": 0.3}, {"top_p": 0.6}])
def test_draws_over_many_chunks_follow_what_the_filters_leave(params: dict[str, Any]) -> None:
    logits = torch.randn(1000, generator=torch.Generator().manual_seed(1))
    probs = logits.double().softmax(0)
    ordered = probs.sort(descending=True)
    nucleus = ordered.values.cumsum(0) - ordered.values < params.get("top_p", 1.0)
    kept = torch.zeros(1000, dtype=torch.bool)
    kept[ordered.indices[nucleus][: params.get("top_k", 1000)]] = True
    kept &= probs >= params.get("min_p", 0.0) * probs.max()
    expected = (probs * kept / (probs * kept).sum()).numpy()
    counts = draw(logits.tolist(), **params)
    assert not counts[~kept.numpy()].any()
    eighths = np.array_split(np.arange(1000), 8)
    binned = np.array([counts[part].sum() for part in eighths]), np.array([expected[part].sum() for part in eighths])
    assert chi_square(*binned) < CHI_SQUARE_7_DF


def test_a_token_of_probability_zero_is_never_drawn() -> None:
    logits = torch.full((5, 700), float("-inf"))
    for row, alone in enumerate([0, 127, 128, 500, 699]):
        logits[row, alone] = -3.0
    for seed in range(200):
        seqs = [make_sequence(seed, row, top_p=0.9 if row % 2 else 1.0) for row in range(5)]
        assert sample(logits, seqs) == [0, 127, 128, 500, 699]


def test_a_batch_larger_than_a_block_is_drawn_like_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(9, 500, generator=torch.Generator().manual_seed(2))
    seqs = [make_sequence(seed, temperature=0.0 if seed == 3 else 1.0, top_p=0.9) for seed in range(9)]
    whole = sample(logits, seqs)
    monkeypatch.setattr("inference.engine.sampler.CPU_BLOCK", 1000)
    assert sample(logits, seqs) == whole


def test_logprobs_are_the_models_own_whatever_the_settings() -> None:
    logits = torch.tensor([LOGITS, LOGITS, LOGITS]) * 2
    plain = make_sequence(temperature=0.0)
    drawn = make_sequence(5, temperature=1.7, logprobs=0, logit_bias={4: 100.0})
    asking = make_sequence(temperature=0.0, logprobs=2)
    for seq in (plain, drawn, asking):
        seq.shaping = Shaping.for_params(seq.params, [1], frozenset(), None)
    token_ids, logprobs = read(logits, [plain, drawn, asking])
    assert token_ids == [0, 4, 0]
    own = logits[0].log_softmax(0).tolist()
    near = [pytest.approx(value, abs=1e-6) for value in own]
    assert logprobs == {
        1: TokenLogprobs(near[4], 5, ()),
        2: TokenLogprobs(near[0], 1, ((0, near[0]), (1, near[1]))),
    }


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 1000, generator=generator) * 3
    choices = [{}, {"top_k": 5}, {"top_p": 0.5}, {"min_p": 0.1}, {"top_k": 50, "top_p": 0.9}, {"temperature": 0.0}]
    seqs = [make_sequence(seed, seed, **choices[seed % len(choices)]) for seed in range(12)]
    together = sample(logits, seqs)
    assert together == [sample(logits[[row]], [seqs[row]])[0] for row in range(12)]
    assert together[::-1] == sample(logits.flip(0), seqs[::-1])


def test_a_row_that_is_not_finite_is_reported_and_spares_the_others() -> None:
    logits = torch.tensor([[0.0, 9.0], [float("nan"), 1.0], [float("inf"), 1.0], [7.0, 0.0]])
    greedy, drawn = make_sequence(temperature=0.0), make_sequence(top_k=1)
    assert sample(logits, [greedy, drawn, greedy, drawn]) == [1, -1, -1, 0]


def test_the_random_numbers_never_change() -> None:
    # A worker of another version that resumes an answer must draw the same numbers.
    numbers = uniforms(hashes([0, 0, 2**63 - 1, -1]), np.array([1, 2, 6, 1], dtype=np.uint64))
    assert [round(float(number), 12) for number in numbers] == [
        0.652448486374,
        0.701212109522,
        0.585435248914,
        0.36624209017,
    ]
    assert all(0 <= number < 1 for number in uniforms(hashes(range(1000)), np.ones(1000, dtype=np.uint64)))


def test_rounding_leads_no_draw_past_the_last_weight() -> None:
    values = torch.rand(200, 3, CHUNK, generator=torch.Generator().manual_seed(0))
    values[:, :, 100:], values[:, 2] = 0.0, 0.0
    weights = _Weights(values, torch.arange(0, 3 * CHUNK, CHUNK).expand(200, -1))
    assert bool((weights.at(np.full(200, 1 - 2.0**-48))[1] > 0).all())
    assert bool((weights.at(np.zeros(200))[1] > 0).all())
