"""Packed weights compute what plain ones do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from inference.engine.packing import PackedLinear, pack_linears
from tests.inference.engine.driving import drain, greedy, tokens_of

Factory = Callable[..., Any]


def test_a_packed_layer_equals_the_plain_one() -> None:
    torch.manual_seed(0)
    for bias in (True, False):
        plain, inputs = nn.Linear(384, 512, bias=bias), torch.randn(1, 7, 384)
        with torch.inference_mode():
            torch.testing.assert_close(PackedLinear(plain)(inputs), plain(inputs), rtol=1e-5, atol=1e-5)


def test_only_large_float32_layers_are_packed_and_a_tied_embedding_stays() -> None:
    model = nn.ModuleDict(
        {
            "embedding": nn.Embedding(512, 384),
            "head": nn.Linear(384, 512, bias=False),
            "small": nn.Linear(64, 64),
            "bf16": nn.Linear(384, 512).bfloat16(),
        }
    )
    model["head"].weight = model["embedding"].weight
    before = model["embedding"].weight.clone()
    assert pack_linears(model) == 1
    kinds = {name: type(child) for name, child in model.items()}
    expected = {"embedding": nn.Embedding, "head": PackedLinear, "small": nn.Linear, "bf16": nn.Linear}
    assert kinds == expected
    assert torch.equal(model["embedding"].weight, before)


def test_a_model_with_packed_layers_equals_generate(
    make_model: Factory, make_engine: Factory, generate: Factory
) -> None:
    folder = make_model("llama", hidden_size=384, intermediate_size=512)
    engine = make_engine(folder)
    # Of each layer's seven projections, three of 384 x 512 are large enough; the output layer is 384 x 400.
    packed = [module for module in engine.runner.model.modules() if isinstance(module, PackedLinear)]
    assert len(packed) == 3 * 3 + 1
    prompts = [[7, 8, 9], [50] * 20, [100, 200, 300, 301]]
    for number, prompt in enumerate(prompts):
        engine.add_request(str(number), prompt, greedy(20))
    results = drain(engine)
    assert [tokens_of(results[str(n)]) for n in range(3)] == [generate(folder, prompt, 20) for prompt in prompts]
