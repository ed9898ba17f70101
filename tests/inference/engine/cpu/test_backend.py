"""The engine with kernels: what it fuses, how close it stays to the model's own arithmetic, and doing without."""

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
from inference.engine.backend import TorchBackend
from inference.engine.cpu import library
from inference.engine.cpu.attention import CpuCache
from inference.engine.cpu.backend import CpuBackend
from inference.engine.cpu.fusion import FusedAttention, FusedLayer, GatedMlp, RmsNorm, Rotation
from inference.engine.cpu.linear import PackedLinear
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
# architecture, settings, and how many norms, gated MLPs, attentions and whole layers of a model of 3 are fused
FUSED = {
    "llama": ({}, 7, 3, 3, 3),
    "qwen2": ({}, 7, 3, 3, 3),
    "qwen3": ({}, 13, 3, 3, 3),
    "mistral": ({"sliding_window": 8}, 7, 3, 3, 3),
    "gemma2": (GEMMA, 13, 3, 3, 0),
    "gemma3_text": (GEMMA, 19, 3, 3, 0),
    "phi3": ({"pad_token_id": 0}, 7, 0, 0, 0),
    "gpt_neox": ({}, 0, 0, 0, 0),
    "ministral3": ({"rope_parameters": SCALED}, 7, 3, 0, 0),  # scales queries by their position
    "olmo": ({"clip_qkv": 2.0}, 0, 3, 0, 0),  # a clip that a probe may not reach
    "mixtral": ({"num_local_experts": 4, "num_experts_per_tok": 2}, 7, 0, 3, 0),
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


@pytest.mark.parametrize("name", FUSED)
def test_known_parts_are_fused_and_the_logits_stay(name: str, make_model: Callable[..., Path], make: Factory) -> None:
    settings, *expected = FUSED[name]
    folder = make_model(name, **settings)

    engine = make(folder, weights="bfloat16")

    model = engine.runner.model
    kinds = (RmsNorm, GatedMlp, FusedAttention, FusedLayer)
    assert [sum(isinstance(each, kind) for each in model.modules()) for kind in kinds] == expected
    with torch.inference_mode():
        reference = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([WORDS])).logits[0]
    error = (logits_of(engine, WORDS) - reference).norm(dim=-1) / reference.norm(dim=-1)
    assert error.median() < 0.02


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}


@pytest.mark.parametrize(("rope", "count"), [(None, 1), (YARN, 1), (DYNAMIC, 0)])
def test_rotations_are_computed_at_once_unless_they_change_with_the_length(
    rope: dict[str, Any] | None, count: int, make_model: Callable[..., Path], make: Factory
) -> None:
    folder = make_model("llama", rope_parameters=rope) if rope else make_model("llama")
    model = make(folder).runner.model
    found = [each for each in model.modules() if isinstance(each, Rotation)]
    assert len(found) == count
    positions, x = torch.tensor([[0, 1, 77, 255]]), torch.zeros(1)
    for rotation in found:
        own = AutoModelForCausalLM.from_pretrained(folder).model.rotary_emb
        for ours, theirs in zip(rotation(x, positions), own(x, positions), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_int8_stays_close_to_the_models_own_arithmetic(make_model: Callable[..., Path], make: Factory) -> None:
    folder = make_model("llama")
    with torch.inference_mode():
        reference = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([WORDS])).logits[0]
    error = (logits_of(make(folder), WORDS) - reference).norm(dim=-1) / reference.norm(dim=-1)
    assert error.median() < 0.03


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
    assert any(isinstance(each, PackedLinear) for each in engine.runner.model.modules())
    engine.add_request("a", WORDS, greedy(5, ignore_eos=True))
    assert len(tokens_of(drain(engine)["a"])) == 5


def test_a_part_that_computes_something_else_than_its_names_say_is_left_alone(
    make_model: Callable[..., Path], make: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaMLP

    def squared(self: Any, x: Tensor) -> Tensor:
        output: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x) ** 2)
        return output

    monkeypatch.setattr(LlamaMLP, "forward", squared)
    model = make(make_model("llama")).runner.model
    assert not any(isinstance(each, GatedMlp) for each in model.modules())
    assert any(isinstance(each, FusedAttention) for each in model.modules())


def test_auto_measures_and_says_what_it_chose(
    make_model: Callable[..., Path], make: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "inference.engine.cpu.linear"):
        backend = make(make_model("llama"), weights="auto").runner.backend
    assert isinstance(backend, CpuBackend)
    assert backend.weights in ("int8", "bfloat16")
    assert f"weights in {backend.weights}: one of each shape took int8" in caplog.text


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

    assert isinstance(engine.runner.backend, TorchBackend)
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
