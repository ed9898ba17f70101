"""Linear layers with weights in int8 or bfloat16, laid out for the CPU's dot product instructions.

int8: a weight row is split into groups of up to 128 numbers with a scale each, and so is every activation,
at run time. Compared with the model's own arithmetic this loses about as much as llama.cpp's q8_0.
"""

from __future__ import annotations

import ctypes
import logging
import time
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from .library import fields, pages

logger = logging.getLogger(__name__)

LANES = 16
LONGEST_GROUP = 128
TRIALS, CLEARLY = 6, 0.8
PROBE_ROWS = 4096  # of a weight matrix, enough to time a format
SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # children that take the same input


class Matrix(ctypes.Structure):
    """``matrix`` in kernels.c."""

    _fields_ = fields("weight scale bias", "rows cols group")


class PackedLinear(nn.Module):
    """Several ``weight`` [out, in] one below the other, and a ``bias`` [out] or none; takes and gives float32."""

    def __init__(self, library: ctypes.CDLL, weights: list[Tensor], bias: Tensor | None, kind: str) -> None:
        super().__init__()
        self.in_features, self.out_features = weights[0].shape[1], sum(map(len, weights))
        self.library, self.group = library, group_size(self.in_features) if kind == "int8" else 0
        panels = -(-self.out_features // LANES)
        # Plain attributes: a packed weight can neither be trained, nor saved, nor moved.
        self.panels = pages(panels * LANES * self._row_bytes)
        self.scales = torch.zeros(panels * LANES * self._row_groups)
        self.bias = None if bias is None else nn.functional.pad(bias.detach().float(), (0, -len(bias) % LANES))
        first = 0
        for weight in weights:
            for piece in torch.split(weight.detach(), PROBE_ROWS):  # the copy in float32 stays small
                self._pack(piece.float().contiguous(), first)
                first += len(piece)
        self._point(0)

    @property
    def _row_bytes(self) -> int:
        return self.in_features * (1 if self.group else 2)

    @property
    def _row_groups(self) -> int:
        return self.in_features // self.group if self.group else 0

    def _pack(self, rows: Tensor, first: int) -> None:
        panels = self.panels.data_ptr() + first * self._row_bytes
        scales = self.scales.data_ptr() + first * self._row_groups * 4
        self.library.pack(rows.data_ptr(), *rows.shape, self.group, panels, scales)

    def _point(self, first: int) -> None:
        """Compute the rows from ``first`` on, as many as ``out_features``."""
        self._matrix = Matrix(
            self.panels.data_ptr() + first * self._row_bytes,
            self.scales.data_ptr() + first * self._row_groups * 4,
            None if self.bias is None else self.bias.data_ptr() + first * 4,
            self.out_features,
            self.in_features,
            self.group,
        )
        self._call, self.address = self.library.linear, ctypes.addressof(self._matrix)

    def parts(self, sizes: list[int]) -> list[PackedLinear]:
        """This layer as several, on the same memory. All sizes but the last are whole panels."""
        found, first = [], 0
        for size in sizes:
            part = copy(self)
            part.out_features = size
            part._point(first)
            found.append(part)
            first += size
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]"""
        if inputs.shape[-1] != self.in_features:
            raise ValueError(f"rows of {self.in_features} numbers are expected, got {inputs.shape[-1]}")
        inputs = inputs.float().contiguous()
        output = inputs.new_empty(*inputs.shape[:-1], self.out_features)
        self._call(self.address, inputs.data_ptr(), output.data_ptr(), inputs.numel() // self.in_features)
        return output


def pack_linears(library: ctypes.CDLL, model: nn.Module, kind: str) -> dict[nn.Module, dict[str, PackedLinear]]:
    """Replace all linear layers of ``model``, and free their weights as it goes.

    Returns, by module, the layers that compute what several of its children do: those of ``SIBLINGS``
    that it has, named by the first.
    """
    joined: dict[nn.Module, dict[str, PackedLinear]] = {}
    for parent in list(model.modules()):
        for names in SIBLINGS:
            if whole := _join(library, parent, names, kind):
                joined.setdefault(parent, {})[names[0]] = whole
        for name, child in list(parent.named_children()):
            if packable(child):
                bias: Any = child.bias
                setattr(parent, name, PackedLinear(library, [weight_of(child)], bias, kind))
    return joined


def _join(library: ctypes.CDLL, parent: nn.Module, names: tuple[str, ...], kind: str) -> PackedLinear | None:
    children: list[Any] = [getattr(parent, name, None) for name in names]
    if not all(type(child) is nn.Linear and packable(child) for child in children):
        return None
    sizes, widths = [len(child.weight) for child in children], {child.in_features for child in children}
    if len(widths) > 1 or any(size % LANES for size in sizes) or len({child.bias is None for child in children}) > 1:
        return None
    bias = None if children[0].bias is None else torch.cat([child.bias for child in children])
    whole = PackedLinear(library, [child.weight for child in children], bias, kind)
    for name, part in zip(names, whole.parts(sizes), strict=True):
        setattr(parent, name, part)
    return whole


def group_size(cols: int) -> int:
    """The longest group of whole fours that divides a row."""
    return next(size for size in range(LONGEST_GROUP, 0, -4) if cols % size == 0)


def packable(module: nn.Module) -> bool:
    """``nn.Linear`` with rows of whole fours, and GPT-2's transposed one."""
    if type(module) is nn.Linear:
        return module.in_features % 4 == 0
    return isinstance(module, Conv1D) and module.weight.shape[0] % 4 == 0


def weight_of(module: Any) -> Tensor:
    """[out, in]"""
    weight: Tensor = module.weight.t() if isinstance(module, Conv1D) else module.weight
    return weight


def fastest(library: ctypes.CDLL, weights: list[Tensor], rows: tuple[int, ...]) -> str:
    """``int8``, or ``bfloat16`` where that multiplies these weights with so many rows in clearly less time."""
    seconds = {kind: sum(_seconds(library, weight, kind, rows) for weight in weights) for kind in ("int8", "bfloat16")}
    # On a busy machine timings scatter, and int8 is half the memory.
    best = "bfloat16" if seconds["bfloat16"] < CLEARLY * seconds["int8"] else "int8"
    timings = ", ".join(f"{kind} {1000 * spent:.2f} ms" for kind, spent in seconds.items())
    logger.info("weights in %s: one of each shape took %s", best, timings)
    return best


def _seconds(library: ctypes.CDLL, weight: Tensor, kind: str, rows: tuple[int, ...]) -> float:
    layer = PackedLinear(library, [weight[:PROBE_ROWS]], None, kind)
    inputs = [torch.randn(count, layer.in_features) for count in rows]
    spent = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        for each in inputs:
            layer(each)
        spent.append(time.perf_counter() - began)
    return min(spent)
