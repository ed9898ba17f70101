from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference.engine.cpu import library, linear
from inference.engine.cpu.linear import PackedLinear, group_size

SHAPES = [(64, 64), (40, 36), (1000, 288), (16, 704), (5, 1024)]


def rounded(rows: Tensor, group: int, levels: int = 127) -> Tensor:
    """What integers up to ``levels`` with one scale per group make of ``rows``, in float64."""
    groups = rows.double().unflatten(-1, (-1, group))
    scale = groups.abs().amax(-1, keepdim=True) / levels
    return (torch.round(groups / scale.clamp(min=1e-30)) * scale).flatten(-2)


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 33])
def test_int8_is_the_product_of_the_rounded_numbers(
    kernels: ctypes.CDLL, outputs: int, inputs: int, tokens: int
) -> None:
    torch.manual_seed(tokens)
    weight, bias, x = torch.randn(outputs, inputs), torch.randn(outputs), torch.randn(tokens, inputs)
    group = group_size(inputs)

    output = PackedLinear(kernels, [weight], bias, "int8")(x)

    expected = rounded(x, group, kernels.activation_levels()) @ rounded(weight, group).t() + bias
    assert output.shape == (tokens, outputs)
    # a number halfway between two integers may be rounded to either
    assert (output - expected).norm() < 1e-3 * expected.norm()


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("tokens", [1, 2, 5, 16])
def test_bfloat16_is_the_product_of_the_rounded_numbers(
    kernels: ctypes.CDLL, outputs: int, inputs: int, tokens: int
) -> None:
    weight, x = torch.randn(outputs, inputs), torch.randn(tokens, inputs)

    output = PackedLinear(kernels, [weight], None, "bfloat16")(x)

    taken = x if kernels.activation_levels() > 127 else x.bfloat16()  # without products of bfloat16 they stay float32
    expected = taken.double() @ weight.bfloat16().double().t()
    torch.testing.assert_close(output.double(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["int8", "bfloat16"])
def test_a_row_is_the_same_whatever_is_computed_beside_it(kernels: ctypes.CDLL, kind: str) -> None:
    layer, x = PackedLinear(kernels, [torch.randn(200, 96)], None, kind), torch.randn(17, 96)

    together = layer(x)

    assert torch.equal(together, torch.cat([layer(row) for row in x.split(1)]))


def test_a_number_that_is_not_finite_spoils_its_own_row_only(kernels: ctypes.CDLL) -> None:
    layer, x = PackedLinear(kernels, [torch.randn(32, 64)], None, "int8"), torch.randn(3, 64)
    x[1, 7], x[2, 60] = float("nan"), float("inf")

    output = layer(x)

    assert output[0].isfinite().all()
    assert output[1:].isnan().all()


def test_a_row_of_zeros_gives_the_bias(kernels: ctypes.CDLL) -> None:
    bias = torch.randn(20)
    output = PackedLinear(kernels, [torch.randn(20, 64)], bias, "int8")(torch.zeros(2, 64))
    assert torch.equal(output, bias.expand(2, -1))


def test_leading_dimensions_are_kept(kernels: ctypes.CDLL) -> None:
    layer, x = PackedLinear(kernels, [torch.randn(24, 32)], None, "int8"), torch.randn(2, 3, 32)
    assert torch.equal(layer(x), layer(x.view(6, 32)).view(2, 3, 24))


@pytest.mark.parametrize(("cols", "group"), [(1024, 128), (288, 96), (704, 88), (64, 64), (4, 4), (52, 52), (268, 4)])
def test_groups_divide_a_row_and_are_whole_fours(cols: int, group: int) -> None:
    assert group_size(cols) == group


@pytest.mark.parametrize("kind", ["int8", "bfloat16"])
@pytest.mark.parametrize("sizes", [(64, 32, 32), (20, 7, 300), (1, 1, 1), (5000, 8)])
def test_matrices_one_below_the_other_compute_what_each_does(
    kernels: ctypes.CDLL, kind: str, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "PIECE", 64 * 48)  # of 48 rows
    weights, bias, x = [torch.randn(size, 64) for size in sizes], torch.randn(sum(sizes)), torch.randn(5, 64)

    whole = PackedLinear(kernels, weights, bias, kind)

    each = [PackedLinear(kernels, [weight], None, kind)(x) for weight in weights]
    torch.testing.assert_close(whole(x), torch.cat(each, dim=-1) + bias, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind", ["int8", "bfloat16"])
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_rows_are_the_weights_that_it_multiplies_with(
    kernels: ctypes.CDLL, kind: str, outputs: int, inputs: int
) -> None:
    weight = torch.randn(outputs, inputs)
    ids = torch.tensor([0, outputs - 1, outputs // 2, 0])

    rows = PackedLinear(kernels, [weight], None, kind).rows(ids)

    wanted = rounded(weight, group_size(inputs)).float() if kind == "int8" else weight.bfloat16().float()
    torch.testing.assert_close(rows, wanted[ids], rtol=1e-6, atol=1e-6)


def test_the_kernels_compile_for_processors_other_than_this_one(tmp_path: Path) -> None:
    for target in (("-march=icelake-server", "-mavx512bf16"), ("-march=haswell",)):
        flags = [flag for flag in library.FLAGS if not flag.startswith("-march")]
        command = ["cc", *flags, *target, str(library.SOURCE), "-o", str(tmp_path / "kernels.so"), "-lm"]
        subprocess.run(command, check=True, capture_output=True)


class FakeClock:
    """Stands still but for layers that take their time: ``busy`` more in the calls whose numbers it has."""

    def __init__(self, busy: dict[int, float], **seconds: float) -> None:
        self.now, self.calls, self.busy, self.seconds = 0.0, 0, busy, seconds

    def layer(self, library: ctypes.CDLL, weights: list[Tensor], bias: None, kind: str) -> Callable[[Tensor], None]:
        def multiply(inputs: Tensor) -> None:
            self.now += self.seconds[kind] + self.busy.get(self.calls, 0.0)
            self.calls += 1

        return multiply


AT_FIRST = dict.fromkeys(range(6), 5.0)
EVERY_INT8 = dict.fromkeys(range(0, 14, 2), 5.0)  # of the first seven rounds, with the one that is not counted


@pytest.mark.parametrize(
    ("bfloat16", "busy", "expected"),
    [
        (0.5, {}, "bfloat16"),
        (0.5, {7: 30.0}, "bfloat16"),  # one round of bfloat16 was disturbed
        (0.8, {}, "int8"),  # faster, but not far faster
        (1.5, AT_FIRST, "int8"),  # another program ran at first
        (1.5, EVERY_INT8, "int8"),  # or whenever it was int8's turn, but for the last rounds
        (1.5, {}, "int8"),
    ],
)
def test_a_busy_machine_does_not_choose_the_larger_weights(
    kernels: ctypes.CDLL,
    monkeypatch: pytest.MonkeyPatch,
    bfloat16: float,
    busy: dict[int, float],
    expected: str,
) -> None:
    clock = FakeClock(busy, int8=1.0, bfloat16=bfloat16)
    monkeypatch.setattr(linear, "PackedLinear", clock.layer)
    monkeypatch.setattr(linear.time, "perf_counter", lambda: clock.now)

    assert linear.fastest(kernels, [(64, 64)], (1,)) == expected


def test_without_matrices_that_can_be_packed_there_is_nothing_to_measure(kernels: ctypes.CDLL) -> None:
    assert linear.fastest(kernels, [(64, 63)], (1,)) == "int8"


def test_on_this_processor_a_format_is_measured_and_chosen(kernels: ctypes.CDLL) -> None:
    assert linear.fastest(kernels, [(64, 64), (64, 128)], (1, 16)) in ("int8", "bfloat16")
