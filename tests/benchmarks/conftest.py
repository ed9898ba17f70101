"""Small models of the benchmark's own shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.models import QWEN3_06B, TINY, build

SMALL = {
    "vocab_size": 600,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(TINY | SMALL, tmp_path_factory.mktemp("small") / "llama", "cpu")


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(QWEN3_06B | SMALL, tmp_path_factory.mktemp("small") / "qwen3", "cpu")
