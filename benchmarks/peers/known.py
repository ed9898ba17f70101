"""Which engines there are, where they are looked for, and what a table has to say of them."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.loads import Case
from benchmarks.peers.process import ROOT
from inference.worker.command import TORCH_SPINS

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "chatapp-peers"
LLAMA_SERVER = CACHE / "llama.cpp" / "bin" / "llama-server"
LLAMA_TOKENIZE = LLAMA_SERVER.with_name("llama-tokenize")
VLLM_PYTHON = ROOT / "var" / "vllm-venv" / "bin" / "python"
SENTENCE_TRANSFORMERS = CACHE / "sentence-transformers"  # of benchmarks.embeddings
AS_WORKER = {"GOMP_SPINCOUNT": TORCH_SPINS}  # the environment that our worker gives its engine
LITELLM = ROOT / "var" / "litellm-venv" / "bin" / "litellm"  # of benchmarks.gateway


@dataclass(frozen=True, slots=True)
class Known:
    """``engine`` is the module of ``benchmarks.peers``; ``missing`` says why it cannot run here, if so."""

    name: str
    engine: str
    note: str
    python: str = sys.executable
    options: dict[str, Any] = field(default_factory=dict)
    missing: str = ""
    env: dict[str, str] = field(default_factory=dict)
    cuda: bool = False

    def fits(self, case: Case) -> bool:
        """One by one is one stream; a static batch needs all its prompts at once; llama.cpp sizes its slots alike."""
        if self.engine == "generate":
            return case.even and (case.streams == 1) is bool(self.options.get("sequential"))
        return self.engine != "llama_server" or case.even


def known(ours: dict[str, Any], llama_server: Path = LLAMA_SERVER, vllm_python: Path = VLLM_PYTHON) -> list[Known]:
    """``ours`` are options of our engine."""
    no_server = "" if llama_server.exists() else "not built; python -m benchmarks.peers.install llama.cpp"
    no_gguf = no_server or ("" if importlib.util.find_spec("gguf") else "pip install gguf")
    no_vllm = "" if vllm_python.exists() else "not installed; python -m benchmarks.peers.install vllm"
    slots = {"engine": "llama_server", "note": "keeps the shared prefix in each slot", "missing": no_gguf}
    copies = "a copy of the prefix's cache for each"
    return [
        Known("ours", "ours", "keeps the shared prefix", options=ours, env=AS_WORKER, cuda=True),
        Known("sequential", "generate", f"transformers, one by one; {copies}", options={"sequential": True}, cuda=True),
        Known("static", "generate", f"transformers, one batch; {copies}", cuda=True),
        Known("continuous", "continuous", "transformers; keeps the prefix in pages of 32 tokens", cuda=True),
        Known("llama.cpp bf16", options={"server": str(llama_server), "kind": "bf16"}, **slots),
        Known("llama.cpp q8_0", options={"server": str(llama_server), "kind": "q8_0"}, **slots),
        Known("vllm", "vllm_cpu", "keeps the prefix in blocks of 128 tokens", python=str(vllm_python), missing=no_vllm),
    ]
