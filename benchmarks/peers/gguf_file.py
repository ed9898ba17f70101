"""A Llama- or Qwen3-shaped model as a GGUF file for llama.cpp, with the ``gguf`` package.

The tokens' texts are placeholders: the benchmark speaks in token ids only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from torch import Tensor

from benchmarks.models import config_of

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.weight")
ARCHITECTURES = {"llama", "qwen3"}
NORMAL, UNUSED = 1, "t"


def write(folder: Path, target: Path, kind: str) -> Path:
    """``kind`` is ``bf16`` or ``q8_0``. Raises ``ValueError`` for an architecture that is not known here."""
    import gguf

    config = config_of(folder)
    if config["model_type"] not in ARCHITECTURES:
        raise ValueError(f"no GGUF writer for {config['model_type']}")
    partial = target.with_suffix(".partial")
    writer = gguf.GGUFWriter(str(partial), config["model_type"])
    _describe(writer, config)
    chosen = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}[kind]
    for name, weight in _weights(folder, config):
        kept = chosen if weight.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(weight, kept), raw_dtype=kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return partial.rename(target)


def _describe(writer: Any, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    _describe_tokens(writer, config["vocab_size"])


def _describe_tokens(writer: Any, size: int) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"{UNUSED}{number}" for number in range(size)])
    writer.add_token_types([NORMAL] * size)
    writer.add_token_merges([f"{UNUSED} 0"])
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def _weights(folder: Path, config: dict[str, Any]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                yield translate(name), arrange(name, tensors.get_tensor(name), config).float().numpy()


def translate(name: str) -> str:
    """Hugging Face's name of a weight -> GGUF's. Raises ``KeyError`` for one it does not know."""
    if layer := LAYER.fullmatch(name):
        return f"blk.{layer[1]}.{PARTS[layer[2]]}.weight"
    return NAMES[name]


def arrange(name: str, weight: Tensor, config: dict[str, Any]) -> Tensor:
    """llama.cpp rotates neighbouring numbers of a Llama head, Hugging Face those half a head apart."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(name.split(".")[-2])
    if config["model_type"] != "llama" or heads is None:
        return weight
    halves = weight.view(config[heads], 2, -1, weight.shape[1])
    return halves.transpose(1, 2).reshape(weight.shape)
