"""Which architectures are read, and what their values are called in ``config.json``.

What llama.cpp takes for granted of each, and does not write down, is from its ``src/models/*.cpp`` and ``conversion/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .metadata import Metadata
from .rotation import Rotation

Config = dict[str, Any]
Settings = Callable[[Metadata, Config], Config]

ATTENTION = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
MLP = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
LLAMA = ATTENTION | MLP | {"ffn_norm": "post_attention_layernorm"}
QUERY_KEY_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
FOUR_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
NORMS_BEHIND = {key: FOUR_NORMS[key] for key in ("post_attention_norm", "post_ffw_norm")}
FUSED = {
    "attn_norm": "input_layernorm",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_up": "mlp.gate_up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """``parts``: GGUF's names of a layer's tensors -> transformers'. ``neighbours``: the rows of queries and keys lie
    so that a rotation takes two beside each other, where transformers takes two half a head apart. ``norm_plus_one``:
    the norms' weights have a one added, which transformers adds itself.
    """

    model_type: str
    class_name: str
    parts: Mapping[str, str]
    settings: Settings = lambda metadata, config: {}
    neighbours: bool = False
    norm_plus_one: bool = False
    rotation: Callable[[Metadata, Rotation], Config] = lambda metadata, rotation: rotation.plain(metadata)


def _gemma(metadata: Metadata, config: Config) -> Config:
    return {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}


def _gemma2(metadata: Metadata, config: Config) -> Config:
    return _gemma(metadata, config) | {
        "query_pre_attn_scalar": _attention_scale(config, largest=46),
        "sliding_window": metadata.whole(".attention.sliding_window", 4096),
        "attn_logit_softcapping": metadata.number(".attn_logit_softcapping", 50.0),
        "final_logit_softcapping": metadata.number(".final_logit_softcapping", 30.0),
    }


def _gemma3(metadata: Metadata, config: Config) -> Config:
    window = metadata.whole(".attention.sliding_window", 0)
    layers = config["num_hidden_layers"]
    kinds = ["sliding_attention" if window and (number + 1) % 6 else "full_attention" for number in range(layers)]
    return _gemma(metadata, config) | {
        "query_pre_attn_scalar": _attention_scale(config, largest=62),
        "sliding_window": window or None,
        "layer_types": kinds,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": metadata.number(".final_logit_softcapping", 0.0) or None,
    }


def _attention_scale(config: Config, *, largest: int) -> int:
    """Scores are divided by its root. The family's largest model, known by its layers, has a rule of its own."""
    if config["num_hidden_layers"] == largest:
        return int(config["hidden_size"] // config["num_attention_heads"])
    return int(config["head_dim"])


def _smollm3(metadata: Metadata, config: Config) -> Config:
    rotated = [int((number + 1) % 4 != 0) for number in range(config["num_hidden_layers"])]
    return {"no_rope_layers": rotated, "no_rope_layer_interval": 4}


def _phi3(metadata: Metadata, config: Config) -> Config:
    return {"sliding_window": metadata.whole(".attention.sliding_window", 0) or None}


def _olmo2(metadata: Metadata, config: Config) -> Config:
    if metadata.whole(".attention.sliding_window", 0):
        raise metadata.refuse("has sliding windows, as OLMo 3, which is not read")
    return {}


ARCHITECTURES = {
    "llama": Architecture("llama", "LlamaForCausalLM", LLAMA, neighbours=True),
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM", LLAMA),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM", LLAMA | QUERY_KEY_NORMS),
    "gemma": Architecture("gemma", "GemmaForCausalLM", LLAMA, _gemma, norm_plus_one=True),
    "gemma2": Architecture("gemma2", "Gemma2ForCausalLM", LLAMA | FOUR_NORMS, _gemma2, norm_plus_one=True),
    "gemma3": Architecture(
        "gemma3_text",
        "Gemma3ForCausalLM",
        LLAMA | FOUR_NORMS | QUERY_KEY_NORMS,
        _gemma3,
        norm_plus_one=True,
        rotation=lambda metadata, rotation: rotation.by_layer(metadata),
    ),
    "phi3": Architecture("phi3", "Phi3ForCausalLM", FUSED, _phi3),
    "smollm3": Architecture("smollm3", "SmolLM3ForCausalLM", LLAMA, _smollm3, neighbours=True),
    "olmo2": Architecture(
        "olmo2",
        "Olmo2ForCausalLM",
        {key: name for key, name in (ATTENTION | MLP).items() if key != "attn_norm"} | QUERY_KEY_NORMS | NORMS_BEHIND,
        _olmo2,
    ),
}


def architecture_of(metadata: Metadata) -> Architecture:
    """Raises ``UnsupportedModel`` for one that is not read."""
    if metadata.whole(".expert_count", 0):
        raise metadata.refuse("is a mixture of experts, which is not read from GGUF; its safetensors are")
    if metadata.architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise metadata.refuse(f"is of the architecture {metadata.architecture[:40]!r}; those read are {known}")
    return ARCHITECTURES[metadata.architecture]


def model_config(metadata: Metadata, architecture: Architecture, rotation: Rotation, **told: Any) -> Config:
    """``config.json``. ``told``: what the tensors say, size of the vocabulary and dtype among it."""
    config = {
        "architectures": [architecture.class_name],
        "model_type": architecture.model_type,
        "hidden_size": metadata.whole(".embedding_length"),
        "intermediate_size": metadata.whole(".feed_forward_length"),
        "num_hidden_layers": metadata.whole(".block_count"),
        "num_attention_heads": metadata.whole(".attention.head_count"),
        "hidden_act": "silu",
        "rms_norm_eps": metadata.number(".attention.layer_norm_rms_epsilon"),
        "max_position_embeddings": metadata.whole(".context_length"),
        **told,
    }
    config["num_key_value_heads"] = metadata.whole(".attention.head_count_kv", config["num_attention_heads"])
    config["head_dim"] = _head_dim(metadata, config)
    config["rope_parameters"] = architecture.rotation(metadata, rotation)
    return config | architecture.settings(metadata, config)


def _head_dim(metadata: Metadata, config: Config) -> int:
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    if not heads or not kv_heads or heads % kv_heads:
        raise metadata.refuse(f"has {heads} heads that share {kv_heads} of keys and values")
    size = metadata.whole(".attention.key_length", config["hidden_size"] // heads)
    if not size or metadata.whole(".attention.value_length", size) != size:
        raise metadata.refuse("has heads whose keys and values differ in length, which is not read")
    return size
