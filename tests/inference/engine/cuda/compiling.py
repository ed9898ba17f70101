"""Compiles the kernels for Hopper, which takes no device, and prints what each takes as JSON.

A program of its own, since in a process whose Triton interprets there is no compiler.
"""

from __future__ import annotations

import json
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from inference.engine.cuda import attention, kernels
from inference.engine.cuda.elementwise import NUCLEUS_TILE

HOPPER = GPUTarget("cuda", 90, 32)
# Pointers to the model's type; the others are to int64.
NUMBERS = {"query", "keys", "values", "output", "qkv", "cos", "sin", "both", "key", "value", "inputs"}
TYPES = {torch.bfloat16: "*bf16", torch.float32: "*fp32"}
FLOATS = {
    "weight": "*fp32",
    "query_norm": "*fp32",
    "key_norm": "*fp32",
    "partial": "*fp32",
    "partial_log": "*fp32",
    "scale": "fp32",
    "epsilon": "fp32",
    "weights": "*fp32",
    "limits": "*fp32",
}
POINTERS = {"weights", "limits", "states", "columns"}
STRIDES = dict.fromkeys(
    ["query_row", "query_head", "size", "row_stride", "key_row", "key_head", "value_row", "value_head"], "i32"
)
COUNTS = {"count": "i32"}
CASES = {  # head dimension, type, window, softcap
    "llama": (128, torch.bfloat16, None, None),
    "gemma": (256, torch.bfloat16, 4096, 50.0),
    "exact": (256, torch.float32, None, None),
}


def compiled(kernel: Any, dtype: torch.dtype, constants: dict[str, Any]) -> dict[str, Any]:
    names: list[str] = kernel.arg_names
    types = dict.fromkeys(NUMBERS, TYPES[dtype]) | FLOATS | STRIDES | COUNTS | dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, "*i64") for name in names}
    constexprs = {(names.index(name),): value for name, value in constants.items() if name in names}
    aligned = [place for place, name in enumerate(names) if signature[name][0] == "*" or name in STRIDES]
    attributes = {(place,): [["tt.divisibility", 16]] for place in aligned}
    source = ASTSource(kernel, signature, constexprs, attributes)
    options = {name: value for name, value in constants.items() if name not in names and name.islower()}
    result = triton.compile(source, HOPPER, options)
    return {"shared": result.metadata.shared, "tensor_cores": "mma" in result.asm["ptx"]}


def compiled_anew_by(kernel: Any) -> list[str]:
    """The numbers of which some, ones and multiples of sixteen, have a compilation of their own."""
    return [p.name for p in kernel.params if not (p.is_constexpr or p.do_not_specialize or p.name in POINTERS)]


def main() -> None:
    found = {}
    for name, (dim, dtype, window, softcap) in CASES.items():
        cache = torch.empty(1, 16, 8, dim, dtype=dtype)
        how = {"CAP": softcap, "WINDOW": window, "SHARING": 4}
        constants = attention._layout(cache, cache) | how
        for splits in (1, 16):
            decode = constants | {"SPLITS": splits, "PADDED": 16}
            found[f"{name} decode in {splits}"] = compiled(kernels.decode, dtype, decode)
        merged = {"HEADS": 32, "SPLITS": 16, "VALUE_DIM": dim, "VALUE_PAD": dim}
        found[f"{name} merge"] = compiled(kernels.merge, dtype, merged)
        size = {"HEADS": 8, "HEADS_PAD": 8, "KEY_DIM": dim, "KEY_PAD": dim, "VALUE_DIM": dim, "VALUE_PAD": dim}
        found[f"{name} write"] = compiled(kernels.write, dtype, size)
        found[f"{name} chunk"] = compiled(kernels.chunk, dtype, constants | {"PADDED": attention.CHUNK_ROWS})
        for normed, rotary in ((False, dim), (True, dim), (True, 0)):
            heads = {"HEADS": 32, "KV_HEADS": 8, "DIM": dim, "PAD": dim, "ROTARY": rotary, "NORMED": normed}
            found[f"{name} prepare by {normed}, {rotary}"] = compiled(kernels.prepare, dtype, heads)
        for early in (False, True):
            norm = {"EARLY": early, "SIZE": 4096, "PAD": 4096, "num_warps": 8}
            found[f"{name} normalize by {early}"] = compiled(kernels.normalize, dtype, norm)
        found[f"{name} gate"] = compiled(kernels.gate, dtype, {"GELU": True})
    found["nucleus"] = compiled(kernels.nucleus, torch.float32, {"TILE": NUCLEUS_TILE})
    found["resolve"] = compiled(kernels.resolve, torch.float32, {})
    print(json.dumps({"kernels": found, "compiled anew by": {"nucleus": compiled_anew_by(kernels.nucleus)}}))


if __name__ == "__main__":
    main()
