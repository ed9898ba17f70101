"""The CUDA backend serves models as transformers computes them; without a device, in Triton's interpreter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine import EngineConfig, LLMEngine, model_runner
from inference.engine.attention import LayerShape
from inference.engine.cuda import EXPERIMENTAL, elementwise
from inference.engine.cuda.backend import CudaOps, RecordedBatch, StepContext, _say_experimental
from inference.engine.cuda.graphs import DecodeGraphs
from inference.engine.cuda.staging import PagedCache
from inference.engine.models.checking import KernelMismatch
from inference.engine.ops import Model, Ops
from inference.engine.sampling_params import SamplingParams
from inference.engine.sequence import Chunk, Sequence, token_array
from tests.inference.engine.driving import drain, greedy, tokens_of

Factory = Callable[..., Any]
Loaded = tuple[Model, dict[int, LayerShape], CudaOps]

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 1},
    "qwen3": {"num_hidden_layers": 1},
    "mistral": {"num_hidden_layers": 1, "sliding_window": 8},
    "gemma2": {"num_hidden_layers": 2, "sliding_window": 8},
    "smollm3": {"num_hidden_layers": 2, "no_rope_layers": [1, 0]},
    "olmo2": {"num_hidden_layers": 1},
    "gpt2": {"n_layer": 1, "n_head": 4, "n_embd": 64, "n_positions": 256},
}
PROMPTS = [list(range(6 + 7 * n, 6 + 7 * n + length)) for n, length in enumerate((1, 26, 9))]
NEW_TOKENS = 3


def load(folder: Path, device: torch.device, **options: Any) -> Loaded:
    ops = CudaOps(EngineConfig(model=str(folder), **options), device, torch.float32)
    model = model_runner.load_with(ops, folder)
    return model, model.shapes, ops


def decoding(token_ids: list[int], blocks: list[int]) -> Chunk:
    """The last of ``token_ids`` is to be computed."""
    seq = Sequence("r", token_array(token_ids), 1, SamplingParams(), 0, 99, (0, 0.0, 0))
    seq.block_table = token_array(blocks)
    return Chunk(seq, len(token_ids) - 1, 1)


@pytest.fixture
def make_cuda_engine(
    make_engine: Factory, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., LLMEngine]:
    """An engine on the CUDA backend, even where it is interpreted."""

    def choose(config: EngineConfig, path: Path) -> CudaOps:
        return CudaOps(config, device, torch.float32)

    monkeypatch.setattr(model_runner, "choose_ops", choose)
    return make_engine


@pytest.mark.parametrize(("model_type", "overlap"), [*((name, True) for name in ARCHITECTURES), ("llama", False)])
def test_answers_equal_generate(
    model_type: str, overlap: bool, make_model: Factory, generate: Factory, make_cuda_engine: Factory
) -> None:
    folder = make_model(model_type, **ARCHITECTURES[model_type])
    engine = make_cuda_engine(folder, max_batched_tokens=14, max_num_seqs=2, overlap=overlap)
    for number, prompt in enumerate(PROMPTS):
        engine.add_request(str(number), prompt, greedy(NEW_TOKENS))
    results = drain(engine)
    expected = [generate(folder, prompt, NEW_TOKENS) for prompt in PROMPTS]
    assert [tokens_of(results[str(number)]) for number in range(len(PROMPTS))] == expected


@pytest.mark.parametrize("what", ["prepare", "normalize"])
def test_a_kernel_that_computes_something_else_is_noticed(
    what: str, llama: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(elementwise, what)
    monkeypatch.setattr(elementwise, what, lambda *args: right(*args).flip(0))
    with pytest.raises(KernelMismatch, match="of layer 0 differs by"):
        load(llama, device)


def not_compiled(*args: Any) -> Any:
    raise OSError("out of resource: shared memory")


BROKEN = {  # what is broken, how, of which model, and what the log says of it
    "a wrong result": ("prepare", "wrong", "llama", "attention of layer 0 differs by"),
    "no result": ("prepare", "raises", "llama", "attention of layer 0 cannot be computed (OSError: out of resource"),
    "transformers' own code": ("write", "raises", "gpt2", "GPT2LMHeadModel cannot be computed (OSError"),
    "a wrong one there": ("write", "does nothing", "gpt2", "GPT2LMHeadModel differs by"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_kernels_are_left_to_the_reference_with_one_line(
    name: str,
    make_model: Factory,
    make_cuda_engine: Factory,
    generate: Factory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kernel, how, kind, line = BROKEN[name]
    right = getattr(elementwise, kernel)
    broken = {"wrong": lambda *args: right(*args).flip(0), "raises": not_compiled, "does nothing": lambda *args: None}
    monkeypatch.setattr(elementwise, kernel, broken[how])
    folder = make_model(kind, **ARCHITECTURES[kind])
    engine = make_cuda_engine(folder)
    engine.add_request("r", PROMPTS[1], greedy(NEW_TOKENS))
    assert tokens_of(drain(engine)["r"]) == generate(folder, PROMPTS[1], NEW_TOKENS)
    assert type(engine.runner.backend) is Ops
    (told,) = [one.message for one in caplog.records if "without these kernels" in one.message]
    assert told.startswith(line)


def test_heads_wider_than_the_kernels_are_left_to_the_reference(
    make_model: Factory, make_cuda_engine: Factory, generate: Factory
) -> None:
    folder = make_model("llama", head_dim=288, num_hidden_layers=1)
    engine = make_cuda_engine(folder)
    engine.add_request("r", PROMPTS[2], greedy(NEW_TOKENS))
    assert tokens_of(drain(engine)["r"]) == generate(folder, PROMPTS[2], NEW_TOKENS)
    assert type(engine.runner.backend) is Ops


def test_without_triton_plain_torch_serves(
    llama: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "inference.engine.cuda.backend", None)
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    ops = model_runner.choose_ops(EngineConfig(model=str(llama), device="cuda:1"), llama)
    assert (type(ops), ops.device, current) == (Ops, torch.device("cuda:1"), [torch.device("cuda:1")])
    assert "the CUDA kernels cannot be imported" in caplog.text


def test_the_log_says_once_that_they_are_experimental(
    llama: Path, device: torch.device, caplog: pytest.LogCaptureFixture
) -> None:
    _say_experimental.cache_clear()
    for _ in range(2):
        CudaOps(EngineConfig(model=str(llama)), device, torch.float32)
    assert [one.message for one in caplog.records] == [EXPERIMENTAL]


def test_they_are_experimental_until_a_result_is_committed() -> None:
    results = Path(__file__).parents[4] / "benchmarks" / "results"
    assert bool(EXPERIMENTAL) is not (results / "gpu-session.json").exists()


def test_what_cannot_be_recorded_runs_without_graphs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", not_compiled)
    graphs = DecodeGraphs()
    graphs.record(4, not_compiled, not_compiled)
    assert graphs.fitting(1) is None
    assert "decode steps run without CUDA graphs" in caplog.text


@torch.inference_mode()
def test_padding_changes_neither_the_logits_nor_a_block_of_the_cache(llama: Path, device: torch.device) -> None:
    model, shapes, backend = load(llama, device)
    caches = [backend.new_cache(shapes, 4, 4) for _ in range(2)]
    for cache in caches:
        backend.forward(model, backend.build([decoding([9], [2]), decoding([8], [1])], cache))
    chunks = [decoding([9, 50], [2]), decoding([8, 60], [1])]
    plain = backend.forward(model, backend.build(chunks, caches[0]))
    padded = backend.forward(model, backend.padded(chunks, caches[1], 5))
    assert padded.shape == (5, 400)
    torch.testing.assert_close(padded[:2], plain, rtol=1e-5, atol=1e-6)
    assert caches[0].keys[0][:4].any()
    for layer in shapes:
        torch.testing.assert_close(caches[1].keys[layer][:4], caches[0].keys[layer][:4], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(caches[1].values[layer][:4], caches[0].values[layer][:4], rtol=1e-5, atol=1e-6)


@torch.inference_mode()
def test_a_step_reads_the_tokens_that_the_host_has_not_seen(llama: Path, device: torch.device) -> None:
    model, shapes, backend = load(llama, device)
    cache: PagedCache = backend.new_cache(shapes, 4, 4)
    known = backend.forward(model, backend.build([decoding([9, 50], [2]), decoding([8, 60], [1])], cache)).clone()
    backend.carry(torch.tensor([60, 50], device=device))
    unseen = [decoding([9, -2], [2]), decoding([8, -1], [1])]
    assert torch.equal(backend.forward(model, backend.build(unseen, cache)), known)


def test_the_longest_step_fits_the_buffers(llama: Path, device: torch.device) -> None:
    _, shapes, backend = load(llama, device, max_batched_tokens=16, max_num_seqs=16)
    cache = backend.new_cache(shapes, 2000, 4)
    chunks = [decoding([9] * 256, list(range(number, 1024, 16))) for number in range(16)]  # the model's context
    batch = backend.build(chunks, cache)
    assert isinstance(batch.context, StepContext)
    assert batch.context.slots.tolist() == [(1008 + number) * 4 + 3 for number in range(16)]


@pytest.mark.parametrize("weights", ["fp8", "int4"])
def test_weights_in_few_bits_say_what_they_need(weights: str, llama: Path, device: torch.device) -> None:
    with pytest.raises(ValueError, match=f"weights '{weights}' need"):
        load(llama, device, weights=weights)
    if device.type == "cpu":
        with pytest.raises(ValueError, match="need a CUDA device"):
            LLMEngine(EngineConfig(model=str(llama), weights=weights))


@pytest.mark.cuda
def test_on_a_device_this_backend_is_chosen(llama: Path) -> None:
    assert type(LLMEngine(EngineConfig(model=str(llama), num_kv_blocks=8)).runner.backend) is CudaOps


@pytest.mark.cuda
@torch.inference_mode()
def test_a_replayed_step_computes_what_an_eager_one_does(llama: Path, device: torch.device) -> None:
    model, shapes, backend = load(llama, device, max_num_seqs=4)
    cache = backend.new_cache(shapes, 8, 4)
    chunks = [decoding([9 + n, 50 + n], [n]) for n in range(3)]
    eager = backend.forward(model, backend.build(chunks, cache)).clone()
    backend.warm_up(model, cache)
    replayed = backend.forward(model, batch := backend.build(chunks, cache))
    assert isinstance(batch, RecordedBatch)
    torch.testing.assert_close(replayed, eager, rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@torch.inference_mode()
def test_neither_building_nor_launching_a_decode_waits_for_the_device(llama: Path, device: torch.device) -> None:
    model, shapes, backend = load(llama, device, max_num_seqs=4)
    cache = backend.new_cache(shapes, 8, 4)
    backend.warm_up(model, cache)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for token in range(50, 54):
            backend.forward(model, backend.build([decoding([9, token], [1])], cache))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
def test_a_model_that_cannot_be_recorded_runs_without_graphs(
    make_model: Factory, generate: Factory, make_cuda_engine: Factory
) -> None:
    folder = make_model("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0})
    engine = make_cuda_engine(folder)
    engine.add_request("r", PROMPTS[1], greedy(NEW_TOKENS))
    assert tokens_of(drain(engine)["r"]) == generate(folder, PROMPTS[1], NEW_TOKENS)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_half_precision_stays_close_to_plain_torch(dtype: torch.dtype, llama: Path, device: torch.device) -> None:
    logits = []
    for backend in (Ops(device, dtype), CudaOps(EngineConfig(model=str(llama)), device, dtype)):
        model = model_runner.load_with(backend, llama)
        shapes = model.shapes
        seq = Sequence("r", token_array(range(50, 80)), 30, SamplingParams(), 0, 99, (0, 0.0, 0))
        seq.block_table = token_array(range(8))
        cache = backend.new_cache(shapes, 8, 4)
        logits.append(backend.forward(model, backend.build([Chunk(seq, 0, 30)], cache)).float())
    assert (logits[1] - logits[0]).norm() < 0.02 * logits[0].norm()
