"""What an engine takes of the machine's memory follows from its configuration, whatever else runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.demo import MODEL_PATH

KV_BYTES = 64 << 20
WEIGHTS = {  # 180 MB in float32, nearly all of it packed at load
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 7,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 4096,
}
FILL_THE_CACHE = """
import json, sys
from pathlib import Path
from inference.engine import LLM, SamplingParams

folder, options = sys.argv[1], json.loads(sys.argv[2])
llm = LLM(folder, max_num_seqs=8, num_threads=1, **options)
engine = llm.engine
length = engine.blocks.num_blocks * engine.config.block_size // 4 - 32
prompts = [[7 + number] * length for number in range(4)]
llm.generate(prompts, SamplingParams(max_tokens=8, temperature=0.0, ignore_eos=True))
untouched = sum(block.digest is None for block in engine.blocks.blocks)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps([int(peak.split()[1]) * 1024, engine.blocks.num_blocks, untouched]))
"""


@pytest.mark.parametrize("options", [{}, {"weights": "float32"}], ids=["default", "float32"])
def test_peak_memory_is_that_of_weights_and_cache_and_little_more(
    options: dict[str, Any], make_model: Callable[..., Path]
) -> None:
    folder = make_model("llama", **WEIGHTS)
    settings = json.dumps({"kv_memory_bytes": KV_BYTES, **options})
    run = subprocess.run(
        [sys.executable, "-c", FILL_THE_CACHE, str(folder), settings],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    peak, num_blocks, untouched = json.loads(run.stdout.splitlines()[-1])
    weights = (folder / "model.safetensors").stat().st_size
    assert untouched < num_blocks / 20, "or the cache was not in use"
    assert peak <= 1.15 * (weights + KV_BYTES) + 600e6


LOAD = """
import sys
from inference.engine import LLM, SamplingParams

llm = LLM(sys.argv[1], num_kv_blocks=8)
llm.generate(["Hello"], SamplingParams(max_tokens=2))
heavy = ("transformers.modeling_utils", "transformers.activations", "torch._dynamo", "sympy", "triton")
print([name for name in heavy if name in sys.modules])
"""


def test_the_decoder_serves_without_transformers_modelling_code() -> None:
    run = subprocess.run([sys.executable, "-c", LOAD, str(MODEL_PATH)], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


SHAPE = {  # of SmolLM2-135M
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "tie_word_embeddings": True,
}
PEAK = """
import sys
from pathlib import Path
from inference.engine import LLM

def read():
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Vm")}

before = read()["VmRSS"]
LLM(sys.argv[1], num_kv_blocks=64, weights="int8")
print(read()["VmHWM"] - before)
"""


def test_loading_takes_little_more_than_what_is_computed_with(make_model: Callable[..., Path]) -> None:
    """134 million weights in int8 are 141 MB with their scales. Beside them lie a layer as it is stored, and of the
    largest matrix, whose pages the kernel lends, the whole."""
    folder = make_model("llama", **SHAPE)
    run = subprocess.run([sys.executable, "-c", PEAK, str(folder)], capture_output=True, text=True, check=True)
    largest = SHAPE["vocab_size"] * SHAPE["hidden_size"] * 4
    assert int(run.stdout.splitlines()[-1]) < 141e6 + largest + 100e6
