"""Penalties, biases and min_tokens change their own row's logits by exactly what they say."""

from __future__ import annotations

from array import array
from typing import Any

import torch

from inference.engine.sampling_params import SamplingParams
from inference.engine.sequence import Sequence
from inference.engine.shaping import Changes, Shaping, TokenCounts

END = frozenset({0, 7})


def make_sequence(prompt: list[int], answer: list[int], **choices: Any) -> Sequence:
    params = SamplingParams(**choices)
    seq = Sequence("r", array("i", prompt), len(prompt), params, 0, 1000, (0, 0.0, 0))
    seq.shaping = Shaping.for_params(params, prompt, END, None)
    for token_id in answer:
        seq.token_ids.append(token_id)
        if seq.shaping is not None:
            seq.shaping.advance(token_id)
    return seq


def shaped(logits: list[float], seq: Sequence) -> list[float]:
    return change(torch.tensor([logits]), [seq])[0].tolist()


def change(logits: torch.Tensor, seqs: list[Sequence]) -> torch.Tensor:
    changes = Changes.wanted(seqs, logits.shape[1], logits.device)
    return logits if changes is None else changes.apply(logits)


LOGITS = [1.0, 2.0, -2.0, 4.0, 0.0, -1.0, 3.0, 5.0]


def test_the_repetition_penalty_shrinks_what_prompt_and_answer_have_said() -> None:
    seq = make_sequence([1, 2, 2], [3, 3], repetition_penalty=2.0)
    assert shaped(LOGITS, seq) == [1.0, 1.0, -4.0, 2.0, 0.0, -1.0, 3.0, 5.0]


def test_presence_counts_once_and_frequency_every_time_and_only_in_the_answer() -> None:
    assert shaped(LOGITS, make_sequence([1], [3, 3, 5], presence_penalty=1.5))[1:6] == [2.0, -2.0, 2.5, 0.0, -2.5]
    assert shaped(LOGITS, make_sequence([1], [3, 3, 5], frequency_penalty=0.5))[1:6] == [2.0, -2.0, 3.0, 0.0, -1.5]


def test_all_penalties_add_up_in_vllms_order() -> None:
    seq = make_sequence([6], [3, 3], repetition_penalty=2.0, frequency_penalty=0.25, presence_penalty=1.0)
    assert shaped(LOGITS, seq) == [1.0, 2.0, -2.0, 4.0 / 2 - 0.5 - 1.0, 0.0, -1.0, 1.5, 5.0]


def test_a_bias_is_added() -> None:
    assert shaped(LOGITS, make_sequence([1], [], logit_bias={2: 10.0, 7: -100.0})) == [
        *LOGITS[:2],
        8.0,
        *LOGITS[3:7],
        -95.0,
    ]


def test_no_end_token_may_come_before_min_tokens() -> None:
    held = [float("-inf"), *LOGITS[1:7], float("-inf")]
    assert shaped(LOGITS, make_sequence([1], [3], min_tokens=2)) == held
    assert shaped(LOGITS, make_sequence([1], [3, 3], min_tokens=2)) == LOGITS


def test_rows_without_wishes_and_the_given_logits_stay_as_they_are() -> None:
    logits = torch.tensor([LOGITS, LOGITS, LOGITS])
    seqs = [make_sequence([1], [3]), make_sequence([1], [3], presence_penalty=1.0), make_sequence([1], [5])]
    changed = change(logits, seqs)
    assert changed.tolist() == [LOGITS, [*LOGITS[:3], 3.0, *LOGITS[4:]], LOGITS]
    assert logits.tolist() == [LOGITS] * 3
    assert Changes.wanted([seqs[0]] * 3, len(LOGITS), logits.device) is None


def test_two_rows_with_different_penalties_do_not_mix() -> None:
    first = make_sequence([1, 2], [3], presence_penalty=1.0)
    second = make_sequence([4], [5, 5], frequency_penalty=1.0)
    changed = change(torch.tensor([LOGITS, LOGITS]), [first, second])
    assert changed.tolist() == [[*LOGITS[:3], 3.0, *LOGITS[4:]], [*LOGITS[:5], -3.0, *LOGITS[6:]]]


def test_a_token_has_one_place_however_often_it_comes() -> None:
    counts = TokenCounts([5, 6, 5])
    for _ in range(1000):
        counts.add(9)
    counts.add(6)
    assert (counts.ids.tolist(), counts.counts.tolist()) == ([5, 6, 9], [0, 1, 1000])
