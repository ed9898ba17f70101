"""The attention kernels compute what float64 computes from gathered keys, whatever the blocks' order."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.gpu_session.pages import PLAIN, Pages, chunk_errors, decode_errors
from inference.engine.attention import Attending
from inference.engine.cuda import attention

DTYPES = [
    torch.float32,
    torch.float16,
    pytest.param(torch.bfloat16, marks=pytest.mark.cuda),  # the interpreter multiplies its bits as integers
]
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def check_decode(pages: Pages, how: Attending = PLAIN) -> None:
    *errors, elsewhere = decode_errors(pages, how)
    assert elsewhere == 0.0
    assert all(error < TOLERANCE[pages.dtype] for error in errors)


def check_chunks(pages: Pages, counts: list[int], how: Attending = PLAIN) -> None:
    *errors, elsewhere = chunk_errors(pages, counts, how)
    assert elsewhere == 0.0
    assert all(error < TOLERANCE[pages.dtype] for error in errors)


SHAPES = [  # heads, kv_heads, key_dim, value_dim, block_size
    (4, 2, 32, 32, 16),
    (3, 3, 80, 80, 16),
    (8, 1, 48, 32, 32),
    (2, 1, 256, 256, 16),
]
HOWS = {
    "scale": Attending(0.3),
    "window": Attending(0.0, 37),
    "window of one": Attending(0.0, 1),
    "softcap": Attending(0.0, None, 1.5),
    "both": Attending(0.0, 70, 1.5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_decode_attends_every_key_of_each_sequence(shape: Any, dtype: torch.dtype, device: torch.device) -> None:
    check_decode(Pages([1, 16, 130, 64], *shape, dtype, device))


@pytest.mark.parametrize("how", HOWS)
def test_decode_scales_caps_and_forgets_as_told(how: str, device: torch.device) -> None:
    check_decode(Pages([1, 33, 140], 4, 2, 32, 32, 16, torch.float32, device), HOWS[how])


def test_decode_of_enough_sequences_needs_no_merge(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MOST_SPLITS", 1)
    check_decode(Pages([5, 100], 4, 2, 32, 32, 16, torch.float32, device))


def test_decode_splits_one_sequence_into_many_parts(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "PROGRAMS_PER_CORE", 1 << 20)
    check_decode(Pages([1000], 2, 1, 32, 32, 16, torch.float32, device), HOWS["window"])
    check_decode(Pages([1000], 2, 1, 32, 32, 16, torch.float32, device))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_attend_causally_and_to_what_came_before(shape: Any, dtype: torch.dtype, device: torch.device) -> None:
    check_chunks(Pages([2, 70, 130], *shape, dtype, device), [2, 70, 5])


@pytest.mark.parametrize("how", HOWS)
def test_chunks_scale_cap_and_forget_as_told(how: str, device: torch.device) -> None:
    check_chunks(Pages([30, 150], 4, 2, 32, 32, 16, torch.float32, device), [30, 90], HOWS[how])
