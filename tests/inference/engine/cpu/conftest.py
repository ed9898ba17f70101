"""The kernels need a processor that has their instructions; on one that has, a missing compiler is a failure."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from inference.engine.cpu import library

if sanitizers := os.environ.get("SANITIZE"):  # see scripts/sanitize
    watched = (f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-g", "-O1")
    library.FLAGS, library.NARROW_FLAGS = library.FLAGS + watched, library.NARROW_FLAGS + watched


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if library.missing_features():
        here = Path(__file__).parent
        mine = [item for item in items if item.path.is_relative_to(here)]
        config.hook.pytest_deselected(items=mine)
        items[:] = [item for item in items if item not in mine]


@pytest.fixture(scope="session", params=["avx512", "avx2"] if library.is_wide() else ["avx2"])
def kernels(request: pytest.FixtureRequest) -> ctypes.CDLL:
    """With AVX-512 where the processor has it, and with AVX2."""
    flags = library.FLAGS if request.param == "avx512" else library.NARROW_FLAGS
    return library.opened(library.compiled("cc", flags))
