"""Numbers between the host and the device, without waiting for the device."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def send(numbers: npt.NDArray[Any], device: torch.device) -> Tensor:
    """A copy on the device, in the order of its stream; on a CPU the same memory."""
    tensor = torch.from_numpy(numbers)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class Fetched:
    """``tensors`` on their way to the host."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = [tensor.to("cpu", non_blocking=tensor.is_cuda) for tensor in tensors]
        self._arrived = None
        if tensors[0].device.type == "cuda":
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record()

    def lists(self) -> list[Any]:
        """Their numbers; waits until these are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [tensor.tolist() for tensor in self._tensors]
