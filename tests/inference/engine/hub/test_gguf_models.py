"""A model from a GGUF file writes, greedily, what transformers writes with the dequantised weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoConfig

from inference.engine.hub import resolve_model
from tests.inference.engine.driving import drain, greedy, tokens_of
from tests.inference.engine.hub.gguf_files import SCALES, write_gguf

EXACT = {"dtype": "float32", "weights": "float32"}
NEW_TOKENS = 16
QUANTIZED = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", *SCALES]
SHARP = {"initializer_range": 0.4}  # weights so large that a wrong order, norm or position changes the words
WIDE = SHARP | {"hidden_size": 256, "intermediate_size": 256, "head_dim": 64}  # K-quants have blocks of 256
SAYS_NOTHING = {"architectures", "transformers_version", "initializer_range", "dtype", "_name_or_path"}
SAYS_NOTHING |= {"bos_token_id", "eos_token_id"}  # by the tokenizer
TOLD_OTHERWISE = {"mistral": {"model_type": "llama", "sliding_window": None}}  # llama.cpp has one name for both
EXACT_SCALE = {"query_pre_attn_scalar": 16, "sliding_window": 8}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": False},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": True},
    "gemma": {},
    "gemma2": EXACT_SCALE,
    "gemma3_text": EXACT_SCALE | {"num_hidden_layers": 7, "layer_types": None},
    "phi3": {"sliding_window": 8},
    "smollm3": {"num_hidden_layers": 5, "no_rope_layers": None, "tie_word_embeddings": True},
    "olmo2": {},
}

rng = random.Random(11)
PROMPTS = [[rng.randrange(6, 400) for _ in range(length)] for length in (1, 17, 40)]

Make = Callable[..., Path]
Factory = Callable[..., Any]


def same_words(make_engine: Factory, generate: Factory, file: Path, reference: Path) -> None:
    engine = make_engine(file, **EXACT)
    for number, prompt in enumerate(PROMPTS):
        engine.add_request(str(number), prompt, greedy(NEW_TOKENS, ignore_eos=True))
    results = drain(engine)
    found = [tokens_of(results[str(number)]) for number in range(len(PROMPTS))]
    assert found == [generate(reference, prompt, NEW_TOKENS) for prompt in PROMPTS]


@pytest.mark.parametrize("kind", QUANTIZED)
def test_every_kind_of_quantization_is_read_exactly(
    kind: str, make_model: Make, make_engine: Factory, generate: Factory, tmp_path: Path
) -> None:
    reference = write_gguf(make_model("llama", **WIDE), tmp_path / "m.gguf", kind)
    same_words(make_engine, generate, tmp_path / "m.gguf", reference)


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_read_exactly(
    family: str, kind: str, make_model: Make, make_engine: Factory, generate: Factory, tmp_path: Path
) -> None:
    reference = write_gguf(make_model(family, **SHARP | FAMILIES[family]), tmp_path / "m.gguf", kind)
    same_words(make_engine, generate, tmp_path / "m.gguf", reference)
    folder = resolve_model(str(tmp_path / "m.gguf"), lambda share, detail: None)
    told, expected = settings_of(folder), settings_of(reference) | TOLD_OTHERWISE.get(family, {})
    assert {name: told.get(name) for name in expected} == expected
    assert_equal_weights(folder, reference)


def settings_of(folder: Path) -> dict[str, Any]:
    """All that transformers knows of a model, but what says nothing of what it computes."""
    told = AutoConfig.from_pretrained(folder).to_dict()
    return {name: value for name, value in told.items() if name not in SAYS_NOTHING}


def assert_equal_weights(folder: Path, reference: Path) -> None:
    found, expected = load_file(folder / "model.safetensors"), load_file(reference / "model.safetensors")
    assert found.keys() == expected.keys()
    assert [name for name in found if not np.array_equal(found[name], expected[name].reshape(found[name].shape))] == []


def test_weights_are_kept_in_the_type_that_loses_least(make_model: Make, tmp_path: Path) -> None:
    kept = {}
    for kind in ("F32", "F16", "BF16", "Q4_1"):
        write_gguf(make_model("llama"), tmp_path / f"{kind}.gguf", kind)
        folder = resolve_model(str(tmp_path / f"{kind}.gguf"), lambda share, detail: None)
        header = (folder / "model.safetensors").read_bytes()[:20_000].decode("latin-1")
        kept[kind] = {name for name in ("F32", "F16", "BF16") if f'"dtype": "{name}"' in header}
    assert kept == {"F32": {"F32"}, "F16": {"F32", "F16"}, "BF16": {"F32", "BF16"}, "Q4_1": {"F32", "F16"}}


def test_the_positions_of_llama_3_are_told_by_their_rule(make_model: Make, tmp_path: Path) -> None:
    """Its files have each frequency's divisor. These are llama.cpp's for factor 32, base 500,000 and heads of 64."""
    rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0}
    rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    model = make_model("llama", **WIDE, rope_parameters=rope)
    factors = llama3_factors(64)
    write_gguf(model, tmp_path / "m.gguf", change=lambda writer: writer.add_tensor("rope_freqs.weight", factors))
    folder = resolve_model(str(tmp_path / "m.gguf"), lambda share, detail: None)
    assert rope_of(folder) == rope
    assert {len(load_file(folder / "model.safetensors"))} == {len(load_file(model / "model.safetensors"))}


def llama3_factors(size: int) -> np.ndarray:
    """conversion/llama.py, ``generate_extra_tensors``."""
    found = []
    for freq in 1.0 / (500000.0 ** (np.arange(0, size, 2, dtype=np.float32) / size)):
        wavelen = 2 * np.pi / freq
        if wavelen < 8192 / 4:
            found.append(1.0)
        elif wavelen > 8192:
            found.append(32.0)
        else:
            smooth = (8192 / wavelen - 1) / 3
            found.append(1 / ((1 - smooth) / 32 + smooth))
    return np.array(found, dtype=np.float32)


def rope_of(folder: Path) -> dict[str, Any]:
    import json

    rope: dict[str, Any] = json.loads((folder / "config.json").read_text())["rope_parameters"]
    return rope


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ("linear", {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
        (
            "yarn",
            {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64},
        ),
    ],
)
def test_stretched_positions_are_told(
    scaling: str, expected: Any, make_model: Make, make_engine: Factory, generate: Factory, tmp_path: Path
) -> None:
    def stretch(writer: Any) -> None:
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling))
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(64)

    reference = write_gguf(make_model("llama", **SHARP, rope_parameters=expected), tmp_path / "m.gguf", "F32", stretch)
    assert rope_of(resolve_model(str(tmp_path / "m.gguf"), lambda share, detail: None)) == expected
    same_words(make_engine, generate, tmp_path / "m.gguf", reference)


def test_the_long_positions_of_phi_3_are_told(make_model: Make, tmp_path: Path) -> None:
    long, short = np.full(8, 4.0, dtype=np.float32), np.full(8, 1.5, dtype=np.float32)

    def stretch(writer: Any) -> None:
        writer.add_rope_scaling_orig_ctx_len(64)
        writer.add_rope_scaling_attn_factors(1.25)
        writer.add_tensor("rope_factors_long.weight", long)
        writer.add_tensor("rope_factors_short.weight", short)

    write_gguf(make_model("phi3"), tmp_path / "m.gguf", "F32", stretch)
    told = rope_of(resolve_model(str(tmp_path / "m.gguf"), lambda share, detail: None))
    assert (told["long_factor"], told["short_factor"]) == ([4.0] * 8, [1.5] * 8)
    assert (told["rope_type"], told["original_max_position_embeddings"], told["attention_factor"]) == (
        "longrope",
        64,
        1.25,
    )
