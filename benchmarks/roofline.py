"""What this machine could do at most: its bandwidth and arithmetic measured, and the tokens per second they allow.

A decode step reads all weights once and every sequence's keys and values, and multiplies every weight with
every sequence. Tokens per second = sequences / max(bytes / bandwidth, operations / rate).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

TRIALS = 10
CPU_BYTES, CUDA_BYTES = 1 << 28, 1 << 32  # of one array: far more than the caches hold
CPU_PRODUCT, CUDA_PRODUCT = (512, 2048), (8192, 8192)  # rows, and width of a square matrix
PRODUCTS = 8  # in one trial
BITS = {"float32": 32, "bfloat16": 16, "int8": 8}


def fastest(work: Callable[[], Any], device: str) -> float:
    """Seconds of the fastest trial."""
    times = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])


@torch.inference_mode()
def measure(device: str, threads: int) -> dict[str, float]:
    """GB/s of a copy (read and written) and, on a CPU, of reading alone; 10^9 operations/s of products."""
    torch.set_num_threads(threads)
    size = CPU_BYTES if device == "cpu" else CUDA_BYTES
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    found = {"copy_gb_s": 2 * size / fastest(lambda: target.copy_(source), device)}
    if device == "cpu":
        found["read_gb_s"] = size / fastest(source.sum, device)
    found |= {f"{name}_gops": rate for name, rate in _product_rates(device).items()}
    return {name: round(value / 1e9, 1) for name, value in found.items()}


def _product_rates(device: str) -> dict[str, float]:
    rates = {name: _product_rate(_packed(getattr(torch, name), device), device) for name in ("float32", "bfloat16")}
    if device == "cpu":
        rates["int8"] = _product_rate(_int8(), device)
    return rates


def _product_rate(work: Callable[[], Any], device: str) -> float:
    rows, width = CPU_PRODUCT if device == "cpu" else CUDA_PRODUCT
    return 2 * rows * width * width * PRODUCTS / fastest(lambda: [work() for _ in range(PRODUCTS)], device)


def _packed(dtype: torch.dtype, device: str) -> Callable[[], Any]:
    """A product with weights laid out for oneDNN on a CPU, as they are elsewhere."""
    rows, width = CPU_PRODUCT if device == "cpu" else CUDA_PRODUCT
    inputs = torch.randn(rows, width, device=device, dtype=dtype)
    weight = torch.randn(width, width, device=device, dtype=dtype)
    if device != "cpu" or not _packs(dtype):
        return lambda: torch.nn.functional.linear(inputs, weight)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    return lambda: torch.ops.mkldnn._linear_pointwise.default(inputs, packed, None, "none", [], "")


def _packs(dtype: torch.dtype) -> bool:
    """Not every processor that multiplies bfloat16 somehow can take it in oneDNN's layout."""
    return torch.backends.mkldnn.is_available() and (
        dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _int8() -> Callable[[], Any]:
    rows, width = CPU_PRODUCT
    linear = torch.nn.Linear(width, width, bias=False)
    quantized = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(linear), {torch.nn.Linear})
    inputs = torch.randn(rows, width)
    return lambda: quantized(inputs)


@dataclass(frozen=True, slots=True)
class Shape:
    """weights: numbers multiplied with each token. kv: numbers kept of each token. attention: those in its scores."""

    weights: int
    kv: int
    attention: int

    @classmethod
    def of(cls, config: dict[str, Any]) -> Shape:
        """Of a dense Llama-like model; the output layer counts, the embedding is only looked up."""
        hidden, heads, layers = (config[name] for name in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
        head_dim = config.get("head_dim") or hidden // heads
        kv_width = config["num_key_value_heads"] * head_dim
        attention = hidden * (2 * heads * head_dim + 2 * kv_width)
        layer = attention + 3 * hidden * config["intermediate_size"]
        return cls(layers * layer + config["vocab_size"] * hidden, 2 * layers * kv_width, 2 * layers * heads * head_dim)

    def bounds(self, machine: dict[str, float], streams: int, context: int, shared: int) -> dict[str, float]:
        """By the weights' precision, for those whose products were measured."""
        measured = [dtype for dtype in BITS if f"{dtype}_gops" in machine]
        return {dtype: round(self.tokens_per_second(machine, dtype, streams, context, shared), 1) for dtype in measured}

    def tokens_per_second(
        self, machine: dict[str, float], dtype: str, streams: int, context: int, shared: int
    ) -> float:
        """At most, with keys and values in 16 bits; a shared prefix of ``shared`` tokens is read once for all."""
        kept = shared + streams * (context - shared)
        bandwidth = max(rate for name, rate in machine.items() if name.endswith("_gb_s")) * 1e9
        seconds = (self.weights * BITS[dtype] / 8 + kept * self.kv * 2) / bandwidth
        work = 2 * streams * (self.weights + context * self.attention)
        return streams / max(seconds, work / (machine[f"{dtype}_gops"] * 1e9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    print(json.dumps(measure(options.device, options.threads)))


if __name__ == "__main__":
    main()
