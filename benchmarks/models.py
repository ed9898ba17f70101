"""Models of random weights, for speed alone: ``var/bench-models/NAME``, made when first asked for.

Shapes after the models they are named for; weights are bfloat16, as published models store them.
"""

from __future__ import annotations

import json
import string
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

from inference.demo import MODEL_PATH

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "var" / "bench-models"
SEED = 20
CONTEXT = 40_960

TINY: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 32_000,
    "hidden_size": 288,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "head_dim": 48,
    "tie_word_embeddings": True,
}
SMOLLM2_135M: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
QWEN3_06B: dict[str, Any] = {
    "model_type": "qwen3",
    "vocab_size": 151_936,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}
LLAMA_8B: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
SHAPES = {
    "tiny": TINY,
    "smollm2-135m-shape": SMOLLM2_135M,
    "qwen3-0.6b-shape": QWEN3_06B,
    "llama-3.1-8b-shape": LLAMA_8B,
}


def find_model(name: str, device: str = "cpu") -> Path:
    """``demo``, the name of a shape, or a folder. Raises ``SystemExit``.

    A shape that is missing is built on ``device`` in a process of its own, which leaves no memory taken.
    """
    if name == "demo":
        return MODEL_PATH
    if name in SHAPES:
        folder = FOLDER / name
        if not (folder / "config.json").exists():
            subprocess.run([sys.executable, "-m", "benchmarks.models", name, device], cwd=ROOT, check=True)
        return folder
    if (Path(name) / "config.json").exists():
        return Path(name)
    raise SystemExit(f"{name} is neither a folder with a model nor one of demo, {', '.join(SHAPES)}.")


def build(shape: dict[str, Any], folder: Path, device: str) -> Path:
    """Write a model of this shape; the configuration comes last, so that half a model is not taken for one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    ends = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}
    config = AutoConfig.for_model(**shape, **ends, max_position_embeddings=CONTEXT)
    torch.manual_seed(SEED)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    written = (folder / "config.json").rename(folder / "config.tmp")
    write_tokenizer(folder, shape["vocab_size"])
    written.rename(folder / "config.json")
    return folder


def write_tokenizer(folder: Path, size: int) -> None:
    """A byte-level tokenizer in which every id is a word of its own, so that decoding costs what it costs elsewhere."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate(words(size))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def words(size: int) -> list[str]:
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return ["<end>", *letters, *islice(_longer(), size - 1 - len(letters))]


def _longer() -> Iterator[str]:
    """Words of four letters behind a space, which byte-level vocabularies write as Ġ."""
    return ("Ġ" + "".join(four) for four in product(string.ascii_lowercase, repeat=4))


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


if __name__ == "__main__":
    name, device = sys.argv[1:]
    build(SHAPES[name], FOLDER / name, device)
