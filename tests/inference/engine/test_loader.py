"""What a model's folder says of the model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from transformers import AutoTokenizer

from inference.demo import MODEL_PATH
from inference.engine.loader import end_tokens, load_tokenizer, revision


def write_weights(folder: Path, header: bytes = b"{}", config: str = "{}") -> str:
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"data")
    return revision(folder)


def test_a_revision_is_stable_and_changes_with_the_weights_or_the_configuration(tmp_path: Path) -> None:
    first = write_weights(tmp_path)
    assert len(first) == 12
    assert write_weights(tmp_path) == first
    assert len({first, write_weights(tmp_path, b'{"a":1}'), write_weights(tmp_path, config='{"b":1}')}) == 3


def test_the_tokenizer_is_the_one_that_transformers_chooses(llama: Path) -> None:
    for folder in (llama, MODEL_PATH):
        ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
        text = "The quick brown fox, 17 × 4 <|user|>\n"
        assert (type(ours), ours.encode(text)) == (type(theirs), theirs.encode(text))
        assert (ours.eos_token_id, ours.chat_template) == (theirs.eos_token_id, theirs.chat_template)


def test_answers_end_with_what_the_folder_says(tmp_path: Path) -> None:
    tokenizer = SimpleNamespace(eos_token_id=7)
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": [3, 4]}))
    assert end_tokens(tmp_path, tokenizer) == {3, 4, 7}
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": 5}))
    assert end_tokens(tmp_path, tokenizer) == {5, 7}
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": None}))
    assert end_tokens(tmp_path, SimpleNamespace(eos_token_id=None)) == set()
