"""The kernels need a processor that has their instructions; on one that has, a missing compiler is a failure."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from inference.engine.cpu import library


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if library.missing_features():
        here = Path(__file__).parent
        mine = [item for item in items if item.path.is_relative_to(here)]
        config.hook.pytest_deselected(items=mine)
        items[:] = [item for item in items if item not in mine]


@pytest.fixture(scope="session")
def kernels() -> ctypes.CDLL:
    found = library.load()
    assert found is not None
    return found
