"""``python -m inference.engine.check`` tells what a model is and how it is computed, or why not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.engine import LLMEngine, check
from inference.engine.models.families import read_config
from tests.inference.engine.hub.gguf_files import write_gguf

Factory = Callable[..., Any]
Capture = pytest.CaptureFixture[str]
PLAIN = {"weights": "float32"}


def told(capture: Capture, *arguments: str) -> dict[str, str]:
    """What a check that found nothing wrong printed, by its labels."""
    assert check.main(arguments) == 0
    return {line[:12].strip(): line[13:] for line in capture.readouterr().out.splitlines()}


def test_a_folder_is_described_and_compared(llama: Path, capsys: Capture) -> None:
    lines = told(capsys, str(llama), "--weights", "float32")

    assert lines["family"] == "llama (LlamaForCausalLM)"
    weights = sum(weight.numel() for weight in load_file(llama / "model.safetensors").values())
    size = (llama / "model.safetensors").stat().st_size / 1e6
    assert lines["size"] == f"3 layers, {weights:,} weights, {size:.1f} MB on disk"
    assert lines["computed by"].startswith(
        "our decoder: 4 heads of 16 over 2 of keys, rope default (theta 10,000) in 3 "
    )
    assert lines["with"] == "plain torch, float32"
    assert lines["sampling"] == "temperature 0.7, top_p 0.9, min_p 0.05"
    assert lines["licence"] == "not stated in its files"
    assert lines["as served"].startswith("the likeliest token is float32's in 100.0% of ")
    difference = re.match(r"logits differ from transformers' by at most (\S+)", lines["float32"])
    assert difference is not None
    assert float(difference[1]) < 1e-4
    assert all(float(lines[label].removesuffix(" tokens/s")) > 0 for label in ("1 stream", "16 streams"))
    assert re.fullmatch(r"[\d.,]+ [MG]B once loaded, [\d.,]+ [MG]B at most until here", lines["memory"])


def test_a_gguf_file_is_a_model_with_its_licence(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("CHATAPP_MODEL_CACHE", str(tmp_path / "cache"))
    write_gguf(llama, tmp_path / "m.gguf", change=lambda writer: writer.add_license("apache-2.0"))

    for named in (tmp_path / "m.gguf", tmp_path):
        lines = told(capsys, str(named), "--no-reference")
        assert (lines["family"], lines["licence"]) == ("llama (LlamaForCausalLM)", "apache-2.0")
        assert "float32" not in lines


def test_the_demo_model_goes_by_its_name(capsys: Capture) -> None:
    lines = told(capsys, "demo", "--no-reference")

    assert (lines["model"], lines["sampling"]) == ("demo", "temperature 0.3, top_p 0.9")
    assert "output layer tied to the embeddings" in lines["computed by"]


def test_what_transformers_computes_is_compared_too_and_says_why(make_model: Factory, capsys: Capture) -> None:
    lines = told(capsys, str(make_model("gpt_neox", rotary_pct=1.0)), "--weights", "float32")

    assert lines["computed by"] == (
        "transformers' own code, since our decoder does not: models of type gpt_neox are not among its families"
    )
    assert lines["as served"].startswith("the likeliest token is float32's in 100.0% of ")


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (
            "gemma2",
            {"sliding_window": 8},
            {"a window of 8 in 2 layers", "scores capped at 50.0", "logits capped at 30.0"},
        ),
        ("qwen3", {}, {"norms of each head of queries and keys"}),
        ("qwen2", {}, {"biases of qkv"}),
        ("phi3", {}, {"fused matrices"}),
        ("smollm3", {"num_hidden_layers": 4}, {"no rope in 1 layers", "rope default (theta 2,000,000) in 3 layers"}),
        ("granite", {"logits_scaling": 8.0}, {"logits divided by 8"}),
    ],
)
def test_flags_are_told_in_words(make_model: Factory, kind: str, settings: dict[str, Any], words: set[str]) -> None:
    config = json.loads((make_model(kind, **settings) / "config.json").read_text())

    assert words <= set(check.recognised(read_config(config)))


def test_the_licence_of_a_folder(tmp_path: Path) -> None:
    assert check.licence(tmp_path, tmp_path) == "not stated in its files"
    (tmp_path / "LICENSE").write_text("\n  MIT License\n\nCopyright")
    assert check.licence(tmp_path, tmp_path) == "MIT License"
    (tmp_path / "README.md").write_text("---\ntags:\n- chat\nlicense: apache-2.0\n---\nlicense: none\n")
    assert check.licence(tmp_path, tmp_path) == "apache-2.0"


@pytest.mark.parametrize("named", ["./no-such-folder", "empty", "pickled"])
def test_a_refused_model_says_why_and_fails(
    named: str, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    shutil.copytree(llama, "pickled", ignore=shutil.ignore_patterns("*.safetensors"))

    assert check.main([named]) == 1

    reason = capsys.readouterr().err.splitlines()[-1]
    assert re.match(rf"{re.escape(named)} cannot be served: (There is no folder|.*config.json|pickled has no )", reason)


def test_a_decoder_that_computes_something_else_fails(
    make_model: Factory, make_engine: Factory, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """As if the configuration had been read wrongly: the float32 reference is transformers', which reads for itself."""
    folder = make_model("llama", varied=True)
    right = read_config(json.loads((folder / "config.json").read_text()))
    monkeypatch.setattr("inference.engine.model_runner.read_config", lambda config: replace(right, scale=1.0))

    assert check.main([str(folder), "--weights", "float32"]) == 1

    assert "more than rounding explains" in capsys.readouterr().err


def test_top_1_is_of_the_weights_that_are_served(llama: Path, tmp_path: Path, make_engine: Factory) -> None:
    other = Path(shutil.copytree(llama, tmp_path / "other"))
    torch.manual_seed(1)
    weights = load_file(llama / "model.safetensors")
    save_file({name: torch.randn_like(weight) for name, weight in weights.items()}, other / "model.safetensors")
    engine: LLMEngine = make_engine(other, **PLAIN)

    found = check.exactness(llama, engine)

    assert found.holds
    assert found.top1 < 0.1
