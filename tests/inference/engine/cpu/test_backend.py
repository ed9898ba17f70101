"""The engine with kernels: what they compute, how close it stays to the model's own arithmetic, doing without."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from inference.demo import MODEL_PATH
from inference.demo.corpus import conversations
from inference.demo.tokenizer import encode
from inference.engine import EngineConfig, LLMEngine
from inference.engine.cpu import library
from inference.engine.cpu.attention import CpuCache
from inference.engine.cpu.backend import CpuOps
from inference.engine.models.decoder import Decoder
from inference.engine.ops import Ops
from tests.inference.engine.driving import drain, greedy, tokens_of

Factory = Callable[..., LLMEngine]
WORDS = [(7 * n * n + 11 * n) % 390 + 6 for n in range(60)]
GEMMA = {"query_pre_attn_scalar": 16, "sliding_window": 8, "hidden_activation": "gelu_pytorch_tanh"}
SCALED = {
    "rope_type": "default",
    "rope_theta": 10000.0,
    "llama_4_scaling_beta": 0.5,
    "original_max_position_embeddings": 16,
}
# settings, and whether a layer is one call
DECODER: dict[str, tuple[dict[str, Any], bool]] = {
    "llama": ({"attention_bias": True, "mlp_bias": True}, True),
    "qwen2": ({}, True),
    "qwen3": ({}, True),
    "mistral": ({"sliding_window": 8}, True),
    "phi3": ({"sliding_window": 24}, True),
    "smollm3": ({"no_rope_layers": [1, 0, 1]}, True),
    "gemma2": (GEMMA, False),  # norms after attention and MLP
    "gemma3_text": (GEMMA, False),
    "olmo2": ({}, False),
    "granite": ({"residual_multiplier": 0.5}, False),
}
OTHERS: dict[str, dict[str, Any]] = {
    "gpt_neox": {},
    "gpt2": {"n_layer": 3, "n_head": 4, "n_embd": 64, "n_positions": 256},
    "ministral3": {"rope_parameters": SCALED},  # scales queries by their position
    "olmo": {"clip_qkv": 2.0},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
}


@pytest.fixture
def make(make_engine: Factory) -> Factory:
    """An engine on the kernels."""
    return lambda folder, **options: make_engine(folder, **{"block_size": 16, "weights": "int8"} | options)


def logits_of(engine: LLMEngine, prompt: list[int]) -> Tensor:
    """[tokens, vocabulary], read one token a step so that every position is sampled."""
    seen: list[Tensor] = []
    forward = engine.runner.backend.forward

    def note(model: Any, batch: Any) -> Tensor:
        logits = forward(model, batch)
        seen.append(logits.clone())
        return logits

    engine.runner.backend.forward = note  # type: ignore[method-assign]
    for number in range(1, len(prompt) + 1):
        engine.add_request(str(number), prompt[:number], greedy(1, ignore_eos=True))
        drain(engine)
    return torch.cat(seen)


def error_of(logits: Tensor, folder: Path) -> float:
    """Median over the tokens of the relative difference from transformers."""
    with torch.inference_mode():
        reference = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([WORDS])).logits[0]
    return float(((logits - reference).norm(dim=-1) / reference.norm(dim=-1)).median())


@pytest.mark.parametrize("name", DECODER)
def test_every_family_is_computed_by_the_kernels(name: str, make_model: Callable[..., Path], make: Factory) -> None:
    settings, one_call = DECODER[name]
    folder = make_model(name, varied=True, **settings)

    engine = make(folder, weights="bfloat16")

    logits = logits_of(engine, WORDS)
    assert isinstance(engine.runner.model, Decoder)
    assert [bool(args) for args in engine.runner.cache.whole_layers.values()] == [one_call] * 3
    assert error_of(logits, folder) < 0.02


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_multiply_and_attend_by_the_kernels(
    name: str, make_model: Callable[..., Path], make: Factory
) -> None:
    folder = make_model(name, varied=True, **OTHERS[name])
    engine = make(folder, weights="bfloat16")
    assert isinstance(engine.runner.cache, CpuCache)
    assert error_of(logits_of(engine, WORDS), folder) < 0.02


def test_int8_stays_close_to_the_models_own_arithmetic(make_model: Callable[..., Path], make: Factory) -> None:
    folder = make_model("llama")
    assert error_of(logits_of(make(folder), WORDS), folder) < 0.03


def test_the_demo_model_loses_under_one_percent_of_perplexity() -> None:
    item = next(conversations(30_000, held_out=True))
    losses = []
    for weights in ("float32", "int8"):
        engine = LLMEngine(EngineConfig(model=str(MODEL_PATH), weights=weights, num_kv_blocks=64))
        ids = encode(engine.tokenizer, item)[0][:120]
        logits = logits_of(engine, ids)[:-1].float()
        losses.append(float(torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]))))
    assert losses[0] < 4.0  # of a vocabulary of 3,072: it knows how such text goes on
    assert losses[1] - losses[0] < 0.01


def test_company_chunks_prefixes_and_preemption_change_no_greedy_answer(
    make_model: Callable[..., Path], make: Factory
) -> None:
    folder = make_model("qwen3")
    prompts = {str(n): WORDS[n:] + WORDS[:n] for n in range(6)}
    alone = {}
    for name, prompt in prompts.items():
        engine = make(folder)
        engine.add_request(name, prompt, greedy(40, ignore_eos=True))
        alone[name] = tokens_of(drain(engine)[name])

    # 15 blocks of 16 for six sequences of up to 100 tokens, which share none: some are preempted
    engine = make(folder, num_kv_blocks=15, max_batched_tokens=200)
    for name, prompt in prompts.items():
        engine.add_request(name, prompt, greedy(40, ignore_eos=True))
    together = {name: tokens_of(outputs) for name, outputs in drain(engine).items()}

    assert engine.counters()["preemptions"] > 0
    agreeing = sum(together[name] == alone[name] for name in prompts)
    assert agreeing == len(prompts)


def test_heads_that_the_kernels_cannot_take_are_left_to_torch(make_model: Callable[..., Path], make: Factory) -> None:
    folder = make_model("llama", head_dim=12)
    engine = make(folder)
    assert not isinstance(engine.runner.cache, CpuCache)
    assert error_of(logits_of(engine, WORDS), folder) < 0.03


BROKEN = {
    "window": {"window": 0},
    "softcap": {"softcap": 0.0},
    "scale": {"scale": 0.2},
    "norm of queries": {"query_norm": None},
    "epsilon": {"eps": 3.0},
    "heads": {"kv_heads": 1},
}


@pytest.mark.parametrize("part", BROKEN)
@pytest.mark.parametrize("name", ["qwen3", "gemma2"])
def test_kernels_that_compute_something_else_are_not_used(
    name: str,
    part: str,
    make_model: Callable[..., Path],
    make: Factory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a kernel loses is what it is not told."""
    folder = make_model(
        name, varied=True, **(GEMMA if name == "gemma2" else {"sliding_window": 8, "use_sliding_window": True})
    )
    told = CpuCache.layer_args

    def less(self: CpuCache, layer: Any) -> Any:
        args = told(self, layer)
        changed = {key: value for key, value in BROKEN[part].items() if getattr(args, key)}
        for key, value in changed.items():
            setattr(args, key, value)
        applied.append(bool(changed))
        return args

    applied: list[bool] = []
    monkeypatch.setattr(CpuCache, "layer_args", less)
    engine = make(folder, weights="int8")
    if any(applied):
        assert type(engine.runner.backend) is Ops
        assert "the engine runs without these kernels" in caplog.text
    else:
        assert isinstance(engine.runner.backend, CpuOps)


def test_a_weight_that_was_packed_wrongly_is_noticed(
    make_model: Callable[..., Path], make: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = CpuOps.linear

    def swapped(self: CpuOps, weights: Any, bias: Any = None) -> Any:
        return packed(self, weights[::-1], bias)

    monkeypatch.setattr(CpuOps, "linear", swapped)
    assert type(make(make_model("llama")).runner.backend) is Ops


def test_auto_measures_and_says_what_it_chose(
    make_model: Callable[..., Path], make: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "inference.engine.cpu.linear"):
        backend = make(make_model("llama"), weights="auto").runner.backend
    assert isinstance(backend, CpuOps)
    assert backend.weights in ("int8", "bfloat16")
    assert f"weights in {backend.weights}: bfloat16 takes" in caplog.text


@pytest.fixture
def _fresh_library() -> Iterator[None]:
    library.load.cache_clear()
    yield
    library.load.cache_clear()


@pytest.mark.usefixtures("_fresh_library")
def test_without_a_compiler_torch_computes_and_the_log_says_why(
    make_model: Callable[..., Path], make: Factory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(library.shutil, "which", lambda name: None)

    engine = make(make_model("llama"), weights="auto")

    assert type(engine.runner.backend) is Ops
    assert "there is no C compiler (Debian: apt-get install gcc libc6-dev)" in caplog.text
    with pytest.raises(ValueError, match="weights in int8 need the CPU kernels"):
        make(make_model("llama"))


@pytest.mark.usefixtures("_fresh_library")
def test_the_kernels_are_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert isinstance(library.load(), ctypes.CDLL)
    kept = list((tmp_path / "chatapp").iterdir())
    assert [file.suffix for file in kept] == [".so"]
    made = kept[0].stat().st_mtime_ns
    library.load.cache_clear()
    assert isinstance(library.load(), ctypes.CDLL)
    assert kept[0].stat().st_mtime_ns == made
