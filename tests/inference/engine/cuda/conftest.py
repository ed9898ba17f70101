"""Kernels run on the device where there is one, and in Triton's interpreter elsewhere.

The interpreter must be chosen before Triton is first imported, which tests/conftest.py sees to. On a machine
without Django:

    python -m pytest -c /dev/null --rootdir=. --confcutdir=tests/inference tests/inference/engine/cuda
"""

from __future__ import annotations

import pytest
import torch


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    needing = [item for item in items if item.get_closest_marker("cuda")]
    config.hook.pytest_deselected(items=needing)
    items[:] = [item for item in items if item not in needing]


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
