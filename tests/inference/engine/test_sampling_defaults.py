"""A model is drawn from as its makers say, by its files or by its family, and as a chat should be where nobody says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference.demo import MODEL_PATH
from inference.engine.sampling_defaults import FAMILIES, SAFE, default_sampling
from inference.engine.sampling_params import SamplingParams

SMOL = {"temperature": 0.2, "top_p": 0.9, "repetition_penalty": 1.1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plain").mkdir()
    return tmp_path / "plain"


def write(folder: Path, name: str, stated: Any) -> None:
    (folder / f"{name}.json").write_text(stated if isinstance(stated, str) else json.dumps(stated))


def test_nothing_is_known_so_it_is_safe(folder: Path) -> None:
    write(folder, "config", {"model_type": "llama"})
    assert default_sampling(folder, "mine") == SAFE


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"do_sample": True},
        {"temperature": None, "top_p": None},
        {"temperature": "hot", "top_p": [1], "top_k": True, "min_p": "0.1"},
        {"temperature": -1, "top_p": 0, "top_k": -5, "min_p": 2, "repetition_penalty": 0},
        {"temperature": 1e9, "top_p": 1.5, "top_k": 2.5},
        [],
        None,
        "words",
    ],
)
def test_what_says_nothing_that_can_be_meant_is_passed_over(folder: Path, stated: Any) -> None:
    write(folder, "generation_config", json.dumps(stated))
    assert default_sampling(folder) == SAFE


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_passed_over(folder: Path, value: str) -> None:
    write(folder, "generation_config", f'{{"temperature": {value}, "top_p": {value}, "top_k": {value}}}')
    assert default_sampling(folder) == SAFE


def test_its_own_file_comes_before_its_family(folder: Path) -> None:
    write(folder, "generation_config", {"temperature": 0.4, "top_k": 30, "repetition_penalty": 1.0})
    stated = {"temperature": 0.4, "top_k": 30, "repetition_penalty": 1.0}
    assert default_sampling(folder, "SmolLM2-135M-Instruct") == stated


def test_a_temperature_alone_is_never_without_a_cut(folder: Path) -> None:
    write(folder, "generation_config", {"temperature": 1.0, "do_sample": True})
    assert default_sampling(folder) == {"temperature": 1.0, "top_p": 0.9, "min_p": 0.05}


def test_a_cut_alone_is_not_cut_again_and_has_the_temperature_of_its_family(folder: Path) -> None:
    write(folder, "generation_config", {"top_p": 0.95, "top_k": 64})
    write(folder, "config", {"model_type": "gemma3_text"})
    assert default_sampling(folder) == {"temperature": 1.0, "top_p": 0.95, "top_k": 64}


def test_a_model_that_is_not_drawn_from_is_greedy_and_safe_once_a_request_is_warmer(folder: Path) -> None:
    write(folder, "generation_config", {"do_sample": False, "temperature": 0.9})
    assert default_sampling(folder) == SAFE | {"temperature": 0.0}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", SMOL),
        ("smollm2-135m-instruct", SMOL),
        ("/models/SmolLM2 360M.Q8_0.gguf", SMOL),
        ("HuggingFaceTB/SmolLM3-3B", {"temperature": 0.6, "top_p": 0.95}),
        ("Qwen/Qwen2.5-0.5B-Instruct", {"temperature": 0.7, "top_p": 0.8, "top_k": 20}),
        ("Qwen/Qwen3-0.6B", {"temperature": 0.6, "top_p": 0.95, "top_k": 20}),
        ("meta-llama/Llama-3.2-1B-Instruct", {"temperature": 0.6, "top_p": 0.9}),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", {"temperature": 0.6, "top_p": 0.95}),
        ("", dict(SAFE)),
        pytest.param("🦙" * 10_000, dict(SAFE), id="long"),
    ],
)
def test_a_family_is_known_by_its_name(folder: Path, name: str, expected: dict[str, float]) -> None:
    assert default_sampling(folder, name) == expected


@pytest.mark.parametrize(
    ("file", "stated"),
    [
        ("config", {"model_type": "llama", "_name_or_path": "HuggingFaceTB/SmolLM2-135M"}),
        ("tokenizer_config", {"chat_template": "You are a helpful AI assistant named SmolLM, trained by Hugging Face"}),
    ],
)
def test_a_family_is_known_by_what_its_files_say(folder: Path, file: str, stated: dict[str, Any]) -> None:
    write(folder, file, stated)
    assert default_sampling(folder, "renamed") == SMOL


def test_a_family_is_known_by_its_template_file(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ 'You are an assistant named SmolLM.' }}")
    assert default_sampling(folder) == SMOL


def test_the_name_it_is_served_under_counts_before_what_it_was_made_from(folder: Path) -> None:
    write(folder, "config", {"model_type": "qwen2"})
    assert default_sampling(folder, "DeepSeek-R1-Distill-Qwen-1.5B")["temperature"] == 0.6


@pytest.mark.parametrize("settings", [*(settings for _, settings in FAMILIES), SAFE])
def test_no_row_of_the_table_draws_from_the_whole_vocabulary(settings: dict[str, Any]) -> None:
    params = SamplingParams(**settings)
    assert params.greedy or params.top_p < 1 or params.top_k > 0 or params.min_p > 0


def test_the_demo_says_it_itself() -> None:
    assert default_sampling(MODEL_PATH, "demo") == {"temperature": 0.3, "top_p": 0.9}
