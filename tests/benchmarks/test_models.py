from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.models import LLAMA_8B, QWEN3_06B, TINY, config_of
from benchmarks.peers.gguf_file import arrange, translate, write
from benchmarks.roofline import Shape


def test_every_id_of_a_made_model_is_a_word_of_its_own(llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    texts = [tokenizer.decode([token]) for token in range(300, 600)]
    assert len(set(texts)) == 300
    assert texts[0] == " aabr"


def test_a_made_model_is_stored_as_published_ones_are(qwen3: Path) -> None:
    weights = load_file(qwen3 / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    assert "model.layers.1.self_attn.q_norm.weight" in weights
    assert "lm_head.weight" not in weights  # tied


def tensors(file: Path) -> dict[str, gguf.ReaderTensor]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}


def test_a_gguf_file_holds_the_same_bfloat16_numbers(qwen3: Path, tmp_path: Path) -> None:
    found = tensors(write(qwen3, tmp_path / "model.gguf", "bf16"))
    weights = load_file(qwen3 / "model.safetensors")
    assert len(found) == len(weights)
    for name, weight in weights.items():
        tensor = found[translate(name)]
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(numbers, weight.float().numpy())


def test_a_quantized_gguf_file_holds_nearly_the_same(qwen3: Path, tmp_path: Path) -> None:
    tensor = tensors(write(qwen3, tmp_path / "model.gguf", "q8_0"))["blk.0.ffn_up.weight"]
    assert tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0
    weight = load_file(qwen3 / "model.safetensors")["model.layers.0.mlp.up_proj.weight"].float().numpy()
    error = np.abs(gguf.quants.dequantize(tensor.data, tensor.tensor_type) - weight).max()
    assert 0 < error < np.abs(weight).max() / 127


def test_a_llama_heads_halves_are_interleaved(llama: Path) -> None:
    weight = torch.arange(4 * 16.0)[:, None].expand(64, 3)
    rows = arrange("model.layers.0.self_attn.q_proj.weight", weight, config_of(llama))[:, 0]
    assert rows[:4].tolist() == [0.0, 8.0, 1.0, 9.0]
    assert rows[16:18].tolist() == [16.0, 24.0]
    assert arrange("model.layers.0.self_attn.v_proj.weight", weight, config_of(llama)) is weight


def test_an_architecture_without_a_writer_is_refused(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match="no GGUF writer for gpt2"):
        write(tmp_path, tmp_path / "model.gguf", "bf16")


def test_the_roofline_counts_the_weights_that_a_model_multiplies(llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama)
    matrices = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2)  # tied: the head is in
    shape = Shape.of(config_of(llama))
    assert shape.weights == matrices
    assert shape.kv == 2 * 2 * 2 * 16


def test_the_roofline_is_the_slower_of_reading_and_multiplying() -> None:
    shape = Shape(weights=1_000_000, kv=1000, attention=0)
    machine = {"copy_gb_s": 8.0, "read_gb_s": 10.0, "float32_gops": 100.0, "int8_gops": 1e9}
    # 1 stream: 4 MB of weights and 0.2 MB of keys and values at 10 GB/s, against 20 microseconds of products
    assert shape.tokens_per_second(machine, "float32", 1, 100, 0) == pytest.approx(1e10 / 4.2e6)
    # 64 streams behind one prefix: 1.28 ms of products, against 5.3 MB
    assert shape.tokens_per_second(machine, "float32", 64, 110, 100) == pytest.approx(64 / 1.28e-3)
    assert shape.tokens_per_second(machine, "int8", 1, 100, 0) == pytest.approx(1e10 / 1.2e6)


def test_the_shapes_have_as_many_weights_as_their_names_say() -> None:
    assert Shape.of(TINY).weights == 15_187_968
    assert Shape.of(QWEN3_06B).weights == 595_984_384
    assert Shape.of(LLAMA_8B).weights == 7_504_658_432  # without the embedding, which is only looked up
