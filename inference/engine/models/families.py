"""What ``config.json`` says of a decoder: the families that ``decoder`` computes, as flags.

Transformers' own implementation of a family is the truth; its defaults stand here because importing its
configuration classes takes 150 MB. A family, a setting or a way of rotating that is not known here raises
``NotKnown``: the model is then left to ``hf``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .rope import NotKnown, Rope, read_rope, rotates


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Sizes and flags. windows, ropes_of: by layer; ``ropes_of`` are places in ``ropes``, ``None`` rotates nothing.

    norms: ``before`` attention and MLP, ``after``, or ``around``. norm_offset: what weights of norms lack. norm_early:
    see ``ops.Norm``. head_norms: queries and keys are normalised by ``head``, as a whole ``row``, or not at all.
    fused: the checkpoint has one matrix for queries, keys and values, and one for gate and up. scale: of scores.
    """

    name: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context_limit: int | None
    ropes: tuple[Rope, ...]
    ropes_of: tuple[int | None, ...]
    windows: tuple[int | None, ...]
    scale: float
    softcap: float | None
    activation: str
    eps: float
    norms: str
    norm_offset: float
    norm_early: bool
    head_norms: str | None
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    fused: bool
    tied: bool
    embedding_scale: float
    residual_scale: float
    logit_divisor: float
    logit_softcap: float | None


@dataclass(frozen=True, slots=True)
class Family:
    """defaults: of the settings it reads beyond ``COMMON``. The others as in ``DecoderConfig``."""

    defaults: Mapping[str, Any]
    norms: str = "before"
    norm_offset: float = 0.0
    norm_early: bool = True
    head_norms: str | None = None
    qkv_bias: bool = False
    fused: bool = False
    scaled_embedding: bool = False


REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
COMMON: dict[str, Any] = {
    **dict.fromkeys(REQUIRED),
    **dict.fromkeys(("num_key_value_heads", "head_dim", "max_position_embeddings")),
    **dict.fromkeys(("rope_parameters", "rope_scaling")),
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
LAYERS = {"layer_types": None, "use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
GEMMA = {
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "attention_bias": False,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "layer_types": None,
}
FAMILIES: dict[str, Family] = {
    "llama": Family({"attention_bias": False, "mlp_bias": False, "max_position_embeddings": 2048}),
    "mistral": Family({"sliding_window": 4096, "num_key_value_heads": 8, "max_position_embeddings": 131072}),
    "qwen2": Family({"num_key_value_heads": 32, "max_position_embeddings": 32768, **LAYERS}, qkv_bias=True),
    "qwen3": Family(
        {
            "num_key_value_heads": 32,
            "head_dim": 128,
            "max_position_embeddings": 32768,
            "attention_bias": False,
            **LAYERS,
        },
        head_norms="head",
    ),
    "gemma2": Family(
        {**GEMMA, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "max_position_embeddings": 8192},
        norms="around",
        norm_offset=1.0,
        norm_early=False,
        scaled_embedding=True,
    ),
    "gemma3_text": Family(
        {
            **GEMMA,
            "rope_theta": 1_000_000.0,
            "rope_local_base_freq": 10000.0,
            "sliding_window_pattern": 6,
            "final_logit_softcapping": None,
            "max_position_embeddings": 131072,
        },
        norms="around",
        norm_offset=1.0,
        norm_early=False,
        head_norms="head",
        scaled_embedding=True,
    ),
    "phi3": Family(
        {
            "rms_norm_eps": 1e-5,
            "sliding_window": None,
            "partial_rotary_factor": 1.0,
            "max_position_embeddings": 4096,
            "original_max_position_embeddings": 4096,
        },
        fused=True,
    ),
    "smollm3": Family(
        {
            "num_key_value_heads": 4,
            "rope_theta": 2_000_000.0,
            "tie_word_embeddings": True,
            "max_position_embeddings": 32768,
            "attention_bias": False,
            "mlp_bias": False,
            "no_rope_layers": None,
            "no_rope_layer_interval": 4,
            "layer_types": None,
            "use_sliding_window": False,
            "sliding_window": None,
        }
    ),
    "olmo2": Family(
        {"rms_norm_eps": 1e-5, "attention_bias": False, "max_position_embeddings": 2048},
        norms="after",
        norm_early=False,
        head_norms="row",
    ),
    "granite": Family(
        {
            "attention_bias": False,
            "mlp_bias": False,
            "max_position_embeddings": 2048,
            "embedding_multiplier": 1.0,
            "logits_scaling": 1.0,
            "residual_multiplier": 1.0,
            "attention_multiplier": 1.0,
        }
    ),
}
ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}
# Settings that change nothing of what is computed for one prompt, whatever their value.
HARMLESS = frozenset(
    """
    architectures model_type dtype torch_dtype transformers_version initializer_range use_cache bos_token_id
    eos_token_id pad_token_id attention_dropout embd_pdrop resid_pdrop pretraining_tp is_llama_config auto_map
    cache_implementation transformers.js_config _name_or_path _attn_implementation_autoset unsloth_fixed
    unsloth_version id2label label2id return_dict chunk_size_feed_forward output_router_logits _sliding_window_pattern
    max_window_layers
    """.split()  # noqa: SIM905 - a list of so many takes a page
)
UNSET: tuple[Any, ...] = (None, False, [], {})


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """``config.json`` as flags. Raises ``NotKnown`` with the reason."""
    try:
        return _read(config)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise NotKnown(f"its configuration is not of the kind it knows ({error})") from error


def _read(config: Mapping[str, Any]) -> DecoderConfig:
    kind = config.get("model_type")
    if kind not in FAMILIES:
        raise NotKnown(f"models of type {kind} are not among its families")
    family = FAMILIES[kind]
    known = COMMON | dict(family.defaults)
    for key, value in config.items():
        replaced = key == "hidden_act" and "hidden_activation" in known
        if key not in known and key not in HARMLESS and value not in UNSET and not replaced:
            raise NotKnown(f"it does not know the setting {key} of {kind}")
    settings = {key: default if config.get(key) is None else config[key] for key, default in known.items()}
    # null means something of its own here: no window, no cap.
    for key in ("sliding_window", "attn_logit_softcapping", "final_logit_softcapping"):
        if key in known and key in config:
            settings[key] = config[key]
    if missing := [key for key in REQUIRED if not (isinstance(settings[key], int) and settings[key] > 0)]:
        raise NotKnown(f"its configuration has no {missing[0]}")
    return _flags(kind, family, settings, str((config.get("architectures") or [kind])[0]))


def _flags(kind: str, family: Family, settings: dict[str, Any], name: str) -> DecoderConfig:
    heads, num_layers = settings["num_attention_heads"], settings["num_hidden_layers"]
    head_dim = settings["head_dim"] or settings["hidden_size"] // heads
    settings["head_dim"] = head_dim
    activation = settings.get("hidden_activation", settings["hidden_act"])
    if activation not in ACTIVATIONS:
        raise NotKnown(f"it does not know the activation {activation}")
    kv_heads = settings["num_key_value_heads"] or heads
    if heads % kv_heads:
        raise NotKnown(f"{heads} heads cannot share {kv_heads}")
    types = _layer_types(kind, settings)
    ropes, ropes_of, limit = read_rope(kind, settings, types)
    return DecoderConfig(
        name=name,
        vocab_size=settings["vocab_size"],
        hidden_size=settings["hidden_size"],
        intermediate_size=settings["intermediate_size"],
        num_layers=num_layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        context_limit=limit,
        ropes=ropes,
        ropes_of=ropes_of,
        windows=_windows(settings, types),
        scale=_scale(settings, head_dim),
        softcap=settings.get("attn_logit_softcapping"),
        activation=ACTIVATIONS[activation],
        eps=settings["rms_norm_eps"],
        norms=family.norms,
        norm_offset=family.norm_offset,
        norm_early=family.norm_early,
        head_norms=family.head_norms,
        qkv_bias=bool(family.qkv_bias or settings.get("attention_bias")),
        o_bias=bool(settings.get("attention_bias")),
        mlp_bias=bool(settings.get("mlp_bias")),
        fused=family.fused,
        tied=settings["tie_word_embeddings"],
        embedding_scale=settings["hidden_size"] ** 0.5
        if family.scaled_embedding
        else settings.get("embedding_multiplier", 1.0),
        residual_scale=settings.get("residual_multiplier", 1.0),
        logit_divisor=settings.get("logits_scaling", 1.0),
        logit_softcap=settings.get("final_logit_softcapping"),
    )


def _scale(settings: Mapping[str, Any], head_dim: int) -> float:
    if "attention_multiplier" in settings:
        return float(settings["attention_multiplier"])
    return 1.0 / math.sqrt(settings.get("query_pre_attn_scalar", head_dim))


def _layer_types(kind: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """``full_attention`` or ``sliding_attention`` of each layer."""
    count: int = settings["num_hidden_layers"]
    types: Any = settings.get("layer_types")
    if types is None:
        types = ["sliding_attention" if _slides(kind, settings, layer) else "full_attention" for layer in range(count)]
    if len(types) != count or not set(types) <= {"full_attention", "sliding_attention"}:
        raise NotKnown("it does not know the types of its layers")
    if kind in ("qwen2", "qwen3", "smollm3") and not settings["use_sliding_window"] and "sliding_attention" in types:
        raise NotKnown("its layers slide and its configuration says that none does")
    return tuple(types)


def _slides(kind: str, settings: Mapping[str, Any], layer: int) -> bool:
    if kind in ("mistral", "phi3"):
        return settings["sliding_window"] is not None
    if kind in ("qwen2", "qwen3"):
        given = settings["use_sliding_window"] and settings["sliding_window"] is not None
        return bool(given and layer >= settings["max_window_layers"])
    if kind == "smollm3":
        given = settings["use_sliding_window"] and settings["sliding_window"] is not None
        return bool(given and not rotates(settings, layer))
    if kind in ("gemma2", "gemma3_text"):
        return bool((layer + 1) % settings.get("sliding_window_pattern", 2))
    return False


def _windows(settings: Mapping[str, Any], types: tuple[str, ...]) -> tuple[int | None, ...]:
    window = settings.get("sliding_window")
    if "sliding_attention" in types and not (isinstance(window, int) and window > 0):
        raise NotKnown("its layers slide over a window that it does not name")
    return tuple(window if kind == "sliding_attention" else None for kind in types)
