"""The compiler takes what the interpreter took, and the result fits a Hopper core."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

SHARED_MEMORY = 227 * 1024
ROOT = Path(__file__).parents[4]
KERNELS = (ROOT / "inference/engine/cuda/kernels.py").read_text()
PARTS = {"fold", "mix"}  # of others
ALL = set(re.findall(r"^def (\w+)", KERNELS, re.MULTILINE)) - PARTS


def test_the_kernels_compile_for_hopper_and_fit_its_shared_memory(tmp_path: Path) -> None:
    settings = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    script = Path(__file__).with_name("compiling.py")
    printed = subprocess.run(
        [sys.executable, script], env=os.environ | settings, check=True, capture_output=True, text=True
    ).stdout
    report = json.loads(printed)
    found = report["kernels"]
    assert len(found) == 3 * 11 + 2
    assert {name.rsplit(" by ")[0].rsplit(" in ")[0].split()[-1] for name in found} == ALL
    assert all(kernel["shared"] <= SHARED_MEMORY for kernel in found.values())
    assert {name for name in found if found[name]["tensor_cores"]} == {
        f"{model} {kernel}"
        for model in ("llama", "gemma", "exact")
        for kernel in ("decode in 1", "decode in 16", "chunk")
    }
    assert report["compiled anew by"] == {"nucleus": ["size"]}, "the vocabulary, which stays, and not the batch"
