"""A value out of range is refused with its name."""

from __future__ import annotations

from typing import Any

import pytest

from inference.engine import EngineConfig, SamplingParams, StructuredOutputsParams


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
        ("stop", (1,)),
        ("stop", ("",)),
        ("stop", ("x",) * 17),
        ("n", 0),
        ("n", 65),
        ("min_tokens", -1),
        ("min_tokens", 17),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", float("nan")),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("logit_bias", {5: float("inf")}),
        ("logit_bias", dict.fromkeys(range(1025), 1.0)),
        ("logprobs", -1),
        ("logprobs", 21),
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


@pytest.mark.parametrize(("stop", "strings"), [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b")), ((), ())])
def test_stop_may_be_one_string_or_several(stop: Any, strings: tuple[str, ...]) -> None:
    assert SamplingParams(stop=stop).stop_strings == strings


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"regex": "a", "choice": ["b"]},
        {"json": "{}", "json_object": True},
        {"choice": "ab"},
        {"choice": [1]},
        {"choice": []},
    ],
)
def test_a_structured_output_states_exactly_one_thing(stated: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"structured_outputs|choice"):
        StructuredOutputsParams(**stated)
