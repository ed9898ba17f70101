"""What a configuration asks for is computed as transformers does, or left to transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from inference.engine import model_runner
from inference.engine.models.decoder import Decoder
from inference.engine.models.families import FAMILIES, read_config
from inference.engine.models.rope import NotKnown
from inference.engine.ops import Ops
from inference.engine.sequence import Chunk, lone_sequence
from inference.errors import UnsupportedModel

Factory = Callable[..., Any]

IDS = [(7 * n * n + 11 * n) % 390 + 6 for n in range(60)]
BLOCK = 16


def rope(kind: str, **settings: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **settings}}


LONG = {
    "short_factor": [1.0 + n / 9 for n in range(8)],
    "long_factor": [3.0] * 8,
    "original_max_position_embeddings": 64,
}
FLAGS: dict[str, tuple[str, dict[str, Any]]] = {
    "biases everywhere": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "heads wider than the model": ("llama", {"head_dim": 48}),
    "heads of an odd dozen": ("llama", {"head_dim": 12}),
    "one head for all keys": ("llama", {"num_key_value_heads": 1}),
    "an epsilon that is felt": ("llama", {"rms_norm_eps": 0.1}),
    "gelu": ("llama", {"hidden_act": "gelu"}),
    "gelu by tanh": ("llama", {"hidden_act": "gelu_pytorch_tanh"}),
    "a theta": ("llama", rope("default", rope_theta=500.0)),
    "linear": ("llama", rope("linear", factor=4.0)),
    "llama3": (
        "llama",
        rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32),
    ),
    "yarn": ("llama", rope("yarn", factor=4.0, original_max_position_embeddings=64)),
    "yarn by scales": (
        "llama",
        rope("yarn", factor=4.0, original_max_position_embeddings=64, mscale=0.7, mscale_all_dim=0.4, truncate=False),
    ),
    "dynamic": ("llama", rope("dynamic", factor=2.0)),
    "longrope": ("phi3", rope("longrope", **LONG)),
    "a part of each head": ("phi3", rope("default", partial_rotary_factor=0.5)),
    "windows from a layer on": ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
    "windows by layer": (
        "qwen3",
        {
            "use_sliding_window": True,
            "sliding_window": 8,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
    ),
    "a window of one": ("mistral", {"sliding_window": 1}),
    "no window": ("mistral", {"sliding_window": None}),
    "caps": ("gemma2", {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.0, "sliding_window": 8}),
    "no caps": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None, "sliding_window": 8}),
    "a scale": ("gemma2", {"query_pre_attn_scalar": 3, "sliding_window": 8}),
    "two thetas": (
        "gemma3_text",
        {
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            },
        },
    ),
    "a window where nothing rotates": (
        "smollm3",
        {"use_sliding_window": True, "sliding_window": 8, "no_rope_layers": [1, 0, 1]},
    ),
    "biases of queries": ("olmo2", {"attention_bias": True}),
    "granite's four": (
        "granite",
        {"embedding_multiplier": 7.0, "residual_multiplier": 0.3, "attention_multiplier": 0.5, "logits_scaling": 5.0},
    ),
}


def theirs(folder: Path) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([IDS])).logits[0]
    return logits


def ours(folder: Path) -> tuple[Any, Tensor]:
    """The model, and the logits that it gives in chunks and then as decodes."""
    ops = Ops(torch.device("cpu"), torch.float32)
    model = model_runner.load_with(ops, folder)
    cache, seq, logits, start = ops.new_cache(model.shapes, 4, BLOCK), lone_sequence(IDS, BLOCK), [], 0
    with torch.inference_mode():
        for length in (30, 27, 1, 1, 1):
            batch = ops.build([Chunk(seq, start, length)], cache)
            logits.append(model.forward(replace(batch, logit_rows=torch.arange(length))))
            start += length
    return model, torch.cat(logits)


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_is_computed_as_transformers_does(name: str, make_model: Factory) -> None:
    kind, settings = FLAGS[name]
    folder = make_model(kind, varied=True, **settings)
    model, logits = ours(folder)
    assert isinstance(model, Decoder)
    torch.testing.assert_close(logits, theirs(folder), rtol=1e-4, atol=1e-4)


def rewritten(folder: Path, target: Path, **changes: Any) -> Path:
    """A copy of the model with other settings; ``None`` takes one away."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text()) | changes
    config = {key: value for key, value in config.items() if value is not None or key not in changes}
    (target / "config.json").write_text(json.dumps(config))
    return target


OLD = {  # as configurations were written before transformers 5
    "llama": {"rope_parameters": None, "rope_theta": 700.0, "torch_dtype": "float32", "dtype": None},
    "llama scaled": {
        "rope_parameters": None,
        "rope_theta": 700.0,
        "rope_scaling": {"type": "linear", "factor": 3.0},
    },
    "llama without": dict.fromkeys(
        ("rope_parameters", "attention_bias", "mlp_bias", "hidden_act", "rms_norm_eps", "tie_word_embeddings")
    ),
    "phi3": {
        "rope_parameters": None,
        "rope_theta": 700.0,
        "original_max_position_embeddings": 64,
        "rope_scaling": {"type": "longrope", "short_factor": LONG["short_factor"], "long_factor": LONG["long_factor"]},
    },
    "phi3 without": {"rope_parameters": None, "rms_norm_eps": None, "sliding_window": None},
    "gemma2": {"layer_types": None, "rope_parameters": None, "hidden_act": "gelu_pytorch_tanh"},
    "gemma3_text": {
        "layer_types": None,
        "rope_parameters": None,
        "rope_theta": 5000.0,
        "rope_local_base_freq": 90.0,
        "sliding_window_pattern": 2,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
    "qwen2": {"layer_types": None, "rope_parameters": None, "rope_theta": 700.0},
    "qwen3 without": dict.fromkeys(("layer_types", "rope_parameters", "rms_norm_eps", "attention_bias")),
    "mistral without": dict.fromkeys(("rope_parameters", "rms_norm_eps", "head_dim")),
    "smollm3 without": dict.fromkeys(("rope_parameters", "no_rope_layers", "layer_types")),
    "olmo2 without": dict.fromkeys(("rope_parameters", "rms_norm_eps")),
    "granite without": dict.fromkeys(("rope_parameters", "rms_norm_eps")),
}


@pytest.mark.parametrize("name", OLD)
def test_what_a_configuration_does_not_say_is_what_transformers_takes(
    name: str, make_model: Factory, tmp_path: Path
) -> None:
    kind = name.split(maxsplit=1)[0]
    more = {"sliding_window": 8} if "gemma" in kind else {}
    tied = {"tie_word_embeddings": kind in ("gemma2", "gemma3_text", "smollm3")}
    folder = rewritten(make_model(kind, varied=True, **more, **tied), tmp_path / "model", **OLD[name])
    model, logits = ours(folder)
    assert isinstance(model, Decoder)
    torch.testing.assert_close(logits, theirs(folder), rtol=1e-4, atol=1e-4)


STRANGE: dict[str, tuple[str, dict[str, Any]]] = {
    "a multiplier": ("llama", {"attention_multiplier": 0.5}),
    "a residual": ("llama", {"residual_multiplier": 0.5}),
    "scaled logits": ("qwen2", {"logits_scaling": 8.0}),
    "a clip": ("llama", {"clip_qkv": 2.0}),
    "a part of each head": ("llama", {"partial_rotary_factor": 0.5}),
    "a bias": ("mistral", {"attention_bias": True}),
    "a bias of the MLP": ("qwen3", {"mlp_bias": True}),
    "a window": ("llama", {"sliding_window": 8}),
    "layers of another kind": ("qwen3", {"layer_types": ["full_attention", "linear_attention", "full_attention"]}),
    "layers of Mistral": ("mistral", {"layer_types": ["sliding_attention"] * 3}),
    "a window that is not named": ("gemma2", {"sliding_window": None}),
    "an activation": ("llama", {"hidden_act": "relu2"}),
    "a rope": ("llama", rope("proportional")),
    "a rope of its own": ("llama", rope("default", llama_4_scaling_beta=0.5)),
    "several positions": ("qwen2", rope("default", mrope_section=[2, 3, 3])),
    "a rope of Phi's": ("phi3", rope("linear", factor=2.0)),
    "a cap": ("gemma3_text", {"attn_logit_softcapping": 50.0}),
    "both directions": ("gemma3_text", {"use_bidirectional_attention": True}),
    "quantized": ("llama", {"quantization_config": {"quant_method": "fp8"}}),
    "no size": ("llama", {"hidden_size": None}),
    "words for numbers": ("llama", {"num_hidden_layers": "three"}),
    "no layers": ("llama", {"num_hidden_layers": 0}),
    "heads that do not divide": ("llama", {"num_key_value_heads": 3}),
    "too few marks": ("smollm3", {"no_rope_layers": [1]}),
    "a factor that is missing": ("llama", rope("linear")),
    "experts": ("llama", {"num_local_experts": 4}),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_setting_that_the_decoder_does_not_know_is_not_taken_for_one_it_knows(
    name: str, make_model: Factory, tmp_path: Path
) -> None:
    kind, changes = STRANGE[name]
    folder = make_model(kind, varied=True, **({"sliding_window": 8} if "gemma" in kind else {}))
    config = json.loads((folder / "config.json").read_text())
    read_config(config)
    with pytest.raises(NotKnown):
        read_config(config | changes)


def test_phi_has_two_names_for_its_long_rope(make_model: Factory) -> None:
    config = json.loads((make_model("phi3") / "config.json").read_text()) | {"original_max_position_embeddings": 64}
    ropes = [read_config(config | {"rope_scaling": LONG | {"type": kind}}).ropes for kind in ("su", "longrope")]
    assert ropes[0] == ropes[1]


def test_an_architecture_of_another_name_is_not_taken_for_llama() -> None:
    for kind in ("llama4_text", "gemma", "gemma3", "qwen3_moe", "mixtral", "olmo", "phi", "", None):
        assert kind not in FAMILIES
        with pytest.raises(NotKnown, match=f"models of type {kind}"):
            read_config({"model_type": kind})


def test_what_only_transformers_knows_is_computed_by_it_and_the_log_says_why(
    make_model: Factory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = rewritten(make_model("llama", varied=True), tmp_path / "model", attention_multiplier=0.5)
    with caplog.at_level("INFO"):
        model, logits = ours(folder)
    assert type(model).__name__ == "HfModel"
    assert "it does not know the setting attention_multiplier of llama" in caplog.text
    torch.testing.assert_close(logits, theirs(folder), rtol=1e-4, atol=1e-4)


def altered(folder: Path, target: Path, alter: Callable[[dict[str, Tensor]], None]) -> Path:
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    alter(weights)
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    return target


def test_weights_that_the_decoder_does_not_expect_leave_the_model_to_transformers(llama: Path, tmp_path: Path) -> None:
    folder = altered(llama, tmp_path / "model", lambda w: w.update({"model.layers.0.self_attn.gate": torch.ones(3)}))
    model, logits = ours(folder)
    assert type(model).__name__ == "HfModel"
    torch.testing.assert_close(logits, theirs(folder), rtol=1e-4, atol=1e-4)


def test_a_weight_of_another_shape_is_refused(llama: Path, tmp_path: Path) -> None:
    name = "model.layers.0.mlp.down_proj.weight"
    folder = altered(llama, tmp_path / "model", lambda w: w.update({name: w[name][:, :95].contiguous()}))
    with pytest.raises(UnsupportedModel, match="LlamaForCausalLM"):
        ours(folder)


@pytest.mark.parametrize("equal", [True, False])
def test_an_output_layer_beside_a_tied_embedding_counts_where_it_differs(
    equal: bool, make_model: Factory, tmp_path: Path
) -> None:
    def add_head(weights: dict[str, Tensor]) -> None:
        table = weights["model.embed_tokens.weight"]
        weights["lm_head.weight"] = table.clone() if equal else torch.randn_like(table)

    folder = altered(make_model("llama", varied=True, tie_word_embeddings=True), tmp_path / "model", add_head)
    _, logits = ours(folder)
    torch.testing.assert_close(logits, theirs(folder), rtol=1e-4, atol=1e-4)
