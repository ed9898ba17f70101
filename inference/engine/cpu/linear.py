"""Linear layers with weights in int8 or bfloat16, laid out for the CPU's dot product instructions.

int8: a weight row is split into groups of up to 128 numbers with a scale each, and so is every activation,
at run time. Compared with the model's own arithmetic this loses about as much as llama.cpp's q8_0.
"""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .library import fields, pages

logger = logging.getLogger(__name__)

LANES = 16
BYTE = 127  # levels of activations that keep 8 bits, as with AVX-512
AVX512, AVX2 = (4, 128), (2, 0)  # STEP and OFFSET of kernels.c
LONGEST_GROUP = 128
ROUNDS, OUTLIERS, CLEARLY = 9, 1, 0.7  # of these rounds all but one have to take less than this share of the time
PROBE_ROWS = 4096  # of a weight matrix, enough to time a format
PIECE = 1 << 21  # numbers that are packed at once, so that their copy in float32 stays small


class Matrix(ctypes.Structure):
    """``matrix`` in kernels.c."""

    _fields_ = fields("weight scale bias", "rows cols group")


class PackedLinear:
    """Several ``weights`` [out, in] one below the other, and a ``bias`` [out] or none; takes and gives float32."""

    def __init__(self, library: ctypes.CDLL, weights: Sequence[Tensor], bias: Tensor | None, kind: str) -> None:
        self.in_features, self.out_features = weights[0].shape[1], sum(map(len, weights))
        self._library, self.group = library, group_size(self.in_features) if kind == "int8" else 0
        padded = -(-self.out_features // LANES) * LANES
        self._num_bytes = padded * self._row_bytes
        self.panels = pages(self._num_bytes)
        self.scales = torch.zeros(padded * self._row_groups)
        self.bias = None if bias is None else functional.pad(bias.float(), (0, -len(bias) % LANES))
        first = 0
        for rows in _whole_panels(weights):
            self._pack(rows, first)
            first += len(rows)
        self._matrix = Matrix(
            self.panels.data_ptr(),
            self.scales.data_ptr(),
            None if self.bias is None else self.bias.data_ptr(),
            self.out_features,
            self.in_features,
            self.group,
        )
        self.address = ctypes.addressof(self._matrix)

    @property
    def _row_bytes(self) -> int:
        return self.in_features * (1 if self.group else 2)

    @property
    def _row_groups(self) -> int:
        return self.in_features // self.group if self.group else 0

    def _pack(self, rows: Tensor, first: int) -> None:
        panels = self.panels.data_ptr() + first * self._row_bytes
        scales = self.scales.data_ptr() + first * self._row_groups * 4
        self._library.pack(rows.data_ptr(), *rows.shape, self.group, panels, scales)

    def __call__(self, inputs: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]"""
        if inputs.shape[-1] != self.in_features:
            raise ValueError(f"rows of {self.in_features} numbers are expected, got {inputs.shape[-1]}")
        inputs = inputs.float().contiguous()
        output = inputs.new_empty(*inputs.shape[:-1], self.out_features)
        self._library.linear(self.address, inputs.data_ptr(), output.data_ptr(), inputs.numel() // self.in_features)
        return output

    def rows(self, ids: Tensor) -> Tensor:
        """``ids`` [T] of outputs -> their weights [T, in_features], as they are multiplied with."""
        panel, lane = ids // LANES, ids % LANES
        numbers = self.panels[: self._num_bytes]
        if not self.group:
            lying = numbers.view(torch.bfloat16).view(-1, self.in_features // 2, LANES, 2)
            return lying[panel, :, lane].flatten(1).float()
        step, offset = AVX512 if self._library.activation_levels() == BYTE else AVX2
        lying = (numbers if offset else numbers.view(torch.int8)).view(-1, self.in_features // step, LANES, step)
        values = lying[panel, :, lane].float().view(len(ids), -1, self.group) - offset
        scales = self.scales.view(-1, self._row_groups, LANES)[panel, :, lane]
        return (values * scales.unsqueeze(-1)).flatten(1)


def _whole_panels(weights: Sequence[Tensor]) -> Iterator[Tensor]:
    """The rows in float32, in pieces that fill whole panels but for the last."""
    count = max(LANES, PIECE // weights[0].shape[1] // LANES * LANES)
    left: list[Tensor] = []
    for weight in weights:
        for piece in torch.split(weight, count):
            rows = torch.cat([*left, piece.float()]) if left else piece.float().contiguous()
            whole = len(rows) // LANES * LANES
            if whole:
                yield rows[:whole]
            left = [rows[whole:].clone()] if whole < len(rows) else []
    yield from left


def group_size(cols: int) -> int:
    """The longest group of whole fours that divides a row."""
    return next(size for size in range(LONGEST_GROUP, 0, -4) if cols % size == 0)


def packable(cols: int) -> bool:
    """Rows of whole fours."""
    return cols % 4 == 0


def fastest(library: ctypes.CDLL, shapes: Sequence[tuple[int, int]], rows: tuple[int, ...]) -> str:
    """``int8``, or ``bfloat16`` where that multiplies such matrices with so many rows in far less time.

    On a busy machine timings scatter, and bfloat16 takes twice the memory: so the two take turns, and bfloat16 has to
    win nearly every round.
    """
    packed = {(min(out, PROBE_ROWS), cols) for out, cols in shapes if packable(cols)}
    spent = [_take_turns(library, *shape, rows) for shape in packed]
    ratios = sorted(
        sum(turn.bfloat16 for turn in each) / sum(turn.int8 for turn in each) for each in zip(*spent, strict=True)
    )
    if not ratios:
        return "int8"
    best = "bfloat16" if ratios[-1 - OUTLIERS] < CLEARLY else "int8"
    logger.info("weights in %s: bfloat16 takes %.2f times as long as int8 (median)", best, ratios[len(ratios) // 2])
    return best


class Turn(NamedTuple):
    """Seconds of one round."""

    int8: float
    bfloat16: float


def _take_turns(library: ctypes.CDLL, out: int, cols: int, rows: tuple[int, ...]) -> list[Turn]:
    weight, inputs = torch.randn(out, cols), [torch.randn(count, cols) for count in rows]
    layers = [PackedLinear(library, [weight], None, kind) for kind in Turn._fields]
    for layer in layers:
        _seconds(layer, inputs)  # which touches its memory
    return [Turn(*(_seconds(layer, inputs) for layer in layers)) for _ in range(ROUNDS)]


def _seconds(layer: PackedLinear, inputs: list[Tensor]) -> float:
    began = time.perf_counter()
    for each in inputs:
        layer(each)
    return time.perf_counter() - began
