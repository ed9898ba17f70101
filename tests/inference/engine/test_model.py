"""A model is served rightly or refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, T5Config

from inference.engine import EngineConfig, LLMEngine
from inference.errors import UnsupportedModel

Factory = Callable[..., Any]

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "mamba": ({}, "MambaForCausalLM has its own attention code"),
    "bloom": ({"n_layer": 2, "n_head": 4}, "BloomForCausalLM has its own attention code"),
    "gptj": ({"n_layer": 2, "n_head": 4, "n_embd": 64, "rotary_dim": 8}, "GPTJForCausalLM has its own attention code"),
    "rwkv": ({}, "RwkvForCausalLM has its own attention code"),
    "recurrent_gemma": ({"lru_width": 64}, "RecurrentGemmaForCausalLM has 3 layers, of which 1 attend"),
    "nemotron": ({}, "NemotronForCausalLM does not pass arguments on"),
    "bert": ({}, "BertLMHeadModel computes something else"),
    "xmod": ({}, "XmodForCausalLM cannot compute a prompt: Input language unknown"),
    "gpt_oss": ({"num_local_experts": 2, "num_experts_per_tok": 1}, "GptOssForCausalLM asks attention for s_aux"),
    "minimax": ({}, "MiniMaxForCausalLM has 3 layers, of which 2 attend"),
    "llama4_text": (
        {"attention_chunk_size": 8, "intermediate_size_mlp": 64, "num_local_experts": 2},
        "Llama4ForCausalLM has a layer of type chunked_attention",
    ),
}


@pytest.mark.parametrize("model_type", REFUSED)
def test_an_architecture_we_would_serve_wrongly_is_refused_by_name(
    model_type: str, make_model: Factory, make_engine: Factory
) -> None:
    settings, reason = REFUSED[model_type]
    with pytest.raises(UnsupportedModel, match=reason):
        make_engine(make_model(model_type, **settings))


def test_an_architecture_that_writes_no_text_is_refused_by_name(
    tmp_path: Path, tokenizer: Any, make_engine: Factory
) -> None:
    AutoModel.from_config(T5Config(vocab_size=400, d_model=64, d_kv=16, d_ff=96, num_layers=2)).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModel, match="T5Model cannot be loaded: Unrecognized configuration class") as raised:
        make_engine(tmp_path)
    assert len(str(raised.value)) < 200, "transformers lists every class it knows"


def test_weights_that_are_missing_are_not_drawn_at_random(llama: Path, tmp_path: Path, make_engine: Factory) -> None:
    folder = shutil.copytree(llama, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UnsupportedModel, match=r"lacks 1 of its weights, .*up_proj.weight for one"):
        make_engine(folder)


def test_attention_that_computes_something_else_is_refused_by_its_numbers(
    make_model: Factory, make_engine: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference.engine import attention

    def wrong(query: Any, keys: Any, values: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.zeros_like(query)

    monkeypatch.setattr(attention.functional, "scaled_dot_product_attention", wrong)
    with pytest.raises(UnsupportedModel, match="GPTNeoXForCausalLM computes something else"):
        make_engine(make_model("gpt_neox"))


def test_weights_that_are_not_safetensors_are_refused(llama: Path, tmp_path: Path, make_engine: Factory) -> None:
    folder = shutil.copytree(llama, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UnsupportedModel, match=r"no \*\.safetensors"):
        make_engine(folder)


def test_code_in_a_models_folder_is_never_run(llama: Path, tmp_path: Path, make_engine: Factory) -> None:
    folder, ran = shutil.copytree(llama, tmp_path / "model"), tmp_path / "ran"
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w')")
    with pytest.raises((UnsupportedModel, ValueError)):
        make_engine(folder)
    assert not ran.exists()


def test_a_rope_scaling_that_depends_on_the_batch_limits_the_context(make_model: Factory, make_engine: Factory) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
    assert make_engine(make_model("llama", rope_parameters=rope)).context_length == 64
    assert make_engine(max_model_len=100).context_length == 100
    assert make_engine().context_length == 256


def test_the_kv_cache_takes_the_memory_it_is_given(llama: Path) -> None:
    # 3 layers, 2 heads, 16 + 16 numbers of 4 bytes: 768 bytes per token.
    engine = LLMEngine(EngineConfig(model=str(llama), block_size=4, kv_memory_bytes=10 * 4 * 768))
    assert engine.counters()["kv_blocks"] == 10
    with pytest.raises(ValueError, match="at least one block"):
        LLMEngine(EngineConfig(model=str(llama), block_size=4, kv_memory_bytes=3000))


def test_an_unknown_dtype_is_named(llama: Path) -> None:
    with pytest.raises(ValueError, match="'float7'"):
        LLMEngine(EngineConfig(model=str(llama), dtype="float7"))


def test_threads_are_set_only_when_asked_for(make_engine: Factory) -> None:
    before = torch.get_num_threads()
    make_engine()
    assert torch.get_num_threads() == before
    make_engine(num_threads=before + 1)
    assert torch.get_num_threads() == before + 1
    torch.set_num_threads(before)


def test_loading_reports_its_progress(llama: Path) -> None:
    seen: list[tuple[float, str]] = []
    LLMEngine(EngineConfig(model=str(llama), num_kv_blocks=4), lambda share, detail: seen.append((share, detail)))
    assert [share for share, _ in seen] == sorted(share for share, _ in seen)
    assert seen[-1] == (1.0, "Ready")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_loads_and_writes(dtype: str, make_engine: Factory) -> None:
    engine = make_engine(dtype=dtype)
    engine.add_request("r", [40, 41, 42], engine.sampling_params(max_tokens=4, seed=1))
    outputs = [engine.step() for _ in range(4)]
    assert [step[0].output_tokens for step in outputs] == [1, 2, 3, 4]
