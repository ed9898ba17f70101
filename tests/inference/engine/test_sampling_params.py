"""A value out of range is refused with its name."""

from __future__ import annotations

from typing import Any

import pytest

from inference.engine import EngineConfig, SamplingParams


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -2),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("stop", "text"),
        ("stop", ("",)),
        ("stop", ("x",) * 17),
    ],
)
def test_a_sampling_value_out_of_range_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        SamplingParams(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("block_size", 0),
        ("max_num_seqs", 0),
        ("num_kv_blocks", 0),
        ("kv_memory_bytes", -1),
        ("max_model_len", 0),
        ("max_batched_tokens", 15),
        ("prefix_salt", b""),
    ],
)
def test_an_engine_setting_that_cannot_work_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        EngineConfig(**{"model": "m", field: value})
