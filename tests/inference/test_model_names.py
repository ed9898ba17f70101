"""What a model is called, whatever its files lie in."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from inference.model_names import ModelCard, describe_model, rename
from inference.packaged import packaged_model


@pytest.mark.parametrize(
    ("model", "name", "label"),
    [
        ("Qwen/Qwen3-0.6B", "qwen3-0.6b", "Qwen3 0.6B"),
        ("bartowski/Llama-3.2-1B-Instruct-GGUF", "llama-3.2-1b-instruct", "Llama 3.2 1B Instruct"),
        ("/x/Meta-Llama-3-8B.Q4_K_M.gguf", "meta-llama-3-8b", "Meta Llama 3 8B"),
        ("/x/Some_Model-IQ2_XS-00001-of-00003.gguf", "some_model", "Some Model"),
        ("/models/Qwen3/hf/", "qwen3", "Qwen3"),
        (
            "/hub/models--Qwen--Qwen3-0.6B/snapshots/0123456789abcdef0123456789abcdef01234567",
            "qwen3-0.6b",
            "Qwen3 0.6B",
        ),
        ("/models/Ünïcode & co", "n-code-co", "Ünïcode & co"),
        ("/", "model", "Model"),
    ],
)
def test_a_model_is_called_as_its_files_are(model, name, label):
    card = describe_model(model)
    assert (card.name, card.label) == (name, label)


def test_the_packaged_model_is_known_by_its_files_name_and_not_by_what_it_calls_itself():
    assert describe_model(str(packaged_model())) == ModelCard(
        "smollm2-135m-instruct", "SmolLM2 135M Instruct", "Apache-2.0", 134_515_008
    )


def folder(path, config=None, card=""):
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config or {}))
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(7)}, path / "model.safetensors")
    if card:
        (path / "README.md").write_text(card)
    return str(path)


def test_a_folder_tells_licence_and_size(tmp_path):
    card = describe_model(folder(tmp_path / "Tiny-Llama", card="---\ntags:\n- a\nlicense: mit\n---\nlicense: no"))
    assert card == ModelCard("tiny-llama", "Tiny Llama", "MIT", 22)


def test_of_packed_numbers_none_are_counted(tmp_path):
    assert describe_model(folder(tmp_path / "packed", {"quantization_config": {}})).parameters == 0


def test_what_a_folder_calls_itself_goes_before_where_it_lies(tmp_path):
    own = {"_name_or_path": "/home/somebody/Tiny-2"}
    assert describe_model(folder(tmp_path / "ana" / "hf", own)).name == "tiny-2"
    assert describe_model(folder(tmp_path / "bea" / "hf")).name == "bea"


def test_a_damaged_model_has_a_name_all_the_same(tmp_path):
    (tmp_path / "Broken.gguf").write_bytes(b"GGUF\x03")
    assert describe_model(str(tmp_path / "Broken.gguf")) == ModelCard("broken", "Broken")
    (tmp_path / "Odd").mkdir()
    (tmp_path / "Odd" / "config.json").write_text("[]")
    (tmp_path / "Odd" / "model.safetensors").write_bytes(b"\xff" * 40)
    assert describe_model(str(tmp_path / "Odd")) == ModelCard("odd", "Odd")
    (tmp_path / "Odd" / "model.safetensors").unlink()
    assert describe_model(str(tmp_path / "Odd")) == ModelCard("odd", "Odd")


def test_an_operators_name_goes_first():
    card = ModelCard("a-1", "A 1", "MIT", 3)
    assert rename(card, "") == rename(card, "a-1") == card
    assert rename(card, "team/house") == ModelCard("team/house", "house", "MIT", 3)
