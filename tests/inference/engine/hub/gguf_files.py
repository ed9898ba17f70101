"""Small GGUF files of small models, and what their weights are once they were quantized.

Names and orders are llama.cpp's own: the names by the ``gguf`` package, the rows of queries and keys as its converter
puts them (``LlamaModel.permute`` of conversion/llama.py), a one added to Gemma's norms.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import load_file, save_file

Numbers = npt.NDArray[Any]
SCALES = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}  # where a block has float16
ARCHITECTURES = {"gemma3_text": "gemma3", "mistral": "llama"}
NEIGHBOURS = ("llama", "smollm3")
TOKEN_KINDS = {"normal": 1, "control": 3}


def write_gguf(
    folder: Path, target: Path, kind: str = "F32", change: Callable[[Any], None] = lambda writer: None
) -> Path:
    """The model in ``folder`` as ``target``, and beside it, in a folder of the same name, what transformers should
    make of it. ``change`` may add values.
    """
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(str(target), ARCHITECTURES.get(config["model_type"], config["model_type"]))
    describe(writer, config)
    describe_tokenizer(writer, folder)
    change(writer)
    expected = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        raw, expected[name] = quantize(shift(weight, name, config), kind, name)
        add(writer, gguf_name(name, config), arrange(raw, name, config), weight, kind)
        expected[name] = np.ascontiguousarray(expected[name] - shift_of(name, config))
    write(writer)
    reference = target.with_suffix("")
    shutil.copytree(folder, reference)
    save_file(expected, reference / "model.safetensors", {"format": "pt"})
    return reference


def write(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add(writer: Any, name: str, raw: Numbers, weight: Numbers, kind: str) -> None:
    kept = Kind[kind] if weight.ndim > 1 else Kind.F32
    writer.add_tensor(name, raw, raw_dtype=None if kept in (Kind.F32, Kind.F16) else kept)


def quantize(weight: Numbers, kind: str, name: str) -> tuple[Numbers, Numbers]:
    """As the file has it, and as numbers, rounded as we keep them. Vectors stay as they are."""
    if weight.ndim == 1 or kind == "F32":
        return weight, weight
    if kind == "F16":
        return weight.astype(np.float16), weight.astype(np.float16)
    raw = random_blocks(weight, kind, name) if kind in SCALES else gguf.quants.quantize(weight, Kind[kind])
    numbers = gguf.quants.dequantize(raw, Kind[kind])
    return raw, numbers if kind == "BF16" else numbers.astype(np.float16)


def random_blocks(weight: Numbers, kind: str, name: str) -> Numbers:
    """Any bytes are a block, but for its scales."""
    draw = np.random.default_rng(len(name) * 1000 + weight.shape[0])
    block, size = gguf.GGML_QUANT_SIZES[Kind[kind]]
    raw = draw.integers(0, 256, (weight.size // block, size), dtype=np.uint8)
    for at in SCALES[kind]:
        scales = draw.uniform(1e-4, 5e-4, (len(raw), 1)).astype(np.float16)
        raw[:, at : at + 2] = scales.view(np.uint8)
    return raw.reshape(weight.shape[0], -1)


def shift_of(name: str, config: Mapping[str, Any]) -> Numbers:
    return np.float32("gemma" in config["model_type"] and name.endswith("norm.weight"))


def shift(weight: Numbers, name: str, config: Mapping[str, Any]) -> Numbers:
    return weight + shift_of(name, config)


def arrange(raw: Numbers, name: str, config: Mapping[str, Any]) -> Numbers:
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(name.split(".")[-2])
    if heads is None or ARCHITECTURES.get(config["model_type"], config["model_type"]) not in NEIGHBOURS:
        return raw
    halves = raw.reshape(config[heads], 2, -1, *raw.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(raw.shape))


def gguf_name(name: str, config: Mapping[str, Any]) -> str:
    called = ARCHITECTURES.get(config["model_type"], config["model_type"])
    arch = next(arch for arch, text in gguf.MODEL_ARCH_NAMES.items() if text == called)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    assert found is not None, name
    return found


def describe(writer: Any, config: Mapping[str, Any]) -> None:
    rope = config["rope_parameters"]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    if config.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])


def describe_tokenizer(writer: Any, folder: Path) -> None:
    """Byte-level BPE, as ``tokenizer.json`` has it."""
    told = json.loads((folder / "tokenizer.json").read_text())
    by_id = sorted(told["model"]["vocab"].items(), key=lambda pair: pair[1])
    marks = {token["content"] for token in told["added_tokens"]}
    tokens = [token for token, _ in by_id]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TOKEN_KINDS["control" if token in marks else "normal"] for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in told["model"]["merges"]])
    writer.add_bos_token_id(tokens.index("<s>"))
    writer.add_eos_token_id(tokens.index("</s>"))
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(json.loads((folder / "tokenizer_config.json").read_text()).get("chat_template", TEMPLATE))


TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
