"""At load, a layer of each kind is computed by the kernels and by the reference, over the same steps.

The steps reach what a kernel does differently: prompts in chunks and whole, decodes alone and beside them, keys of
several tiles, two sequences that share blocks, positions beyond the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from ..attention import AttentionContext
from ..ops import Frequencies, Layer, Ops, Rotation
from ..sequence import Chunk, lone_sequence, token_array

BLOCK = 16  # tokens; all operations know blocks of this size
NUM_BLOCKS = 12
SHARED = 32  # tokens that two of the sequences begin with
WINDOW, SOFTCAP = 24, 4.0  # at most, so that the steps reach beyond them
SHARPNESS = 4.0  # of scores, which hide what a kernel lost where they are all alike
Compute = Callable[[Ops, Layer, Tensor, Rotation | None, AttentionContext], Tensor]


class KernelMismatch(Exception):
    """Kernels compute something else than the reference, or nothing."""


@contextmanager
def failures_of(ops: Ops, what: str) -> Iterator[None]:
    """Whatever kernels raise is their fault (a compiler, a launch, a head too wide for them); memory that is short and
    what the reference itself refuses are not.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, KernelMismatch):
        raise
    except Exception as error:
        if type(ops) is Ops:
            raise
        first_line = str(error).split("\n", 1)[0][:300]
        raise KernelMismatch(f"{what} cannot be computed ({type(error).__name__}: {first_line})") from error


@torch.inference_mode()
def check_layer(ops: Ops, layer: Layer, reference: Ops, wanted: Layer, frequencies: Sequence[Frequencies]) -> None:
    """``layer`` of ``ops`` and ``wanted`` of ``reference`` have the same weights. Raises ``KernelMismatch``."""
    for what, compute, size, close in (
        ("attention", _attention, layer.qkv.out_features, ops.attention_tolerance),
        ("a layer", _whole, layer.down.out_features, ops.layer_tolerance),
    ):
        with failures_of(ops, f"{what} of layer {layer.index}"):
            ours = list(_outputs(compute, ops, _sharpened(layer), size, frequencies))
        theirs = _outputs(compute, reference, _sharpened(wanted), size, frequencies)
        for step, (output, expected) in enumerate(zip(ours, theirs, strict=True)):
            error = float(relative_difference(output, expected))
            if not error <= close:
                raise KernelMismatch(f"{what} of layer {layer.index} differs by {error:.2g} in step {step}")


def relative_difference(output: Tensor, expected: Tensor) -> Tensor:
    """Of rows [T, size]. The median, because one number rounded the other way may turn a row's attention elsewhere."""
    difference: Tensor = (output.float() - expected.float()).norm(dim=-1) / expected.float().norm(dim=-1)
    return difference.median()


def _attention(ops: Ops, layer: Layer, qkv: Tensor, rotation: Rotation | None, context: AttentionContext) -> Tensor:
    return ops.attend(layer, qkv, rotation, context)


def _whole(ops: Ops, layer: Layer, x: Tensor, rotation: Rotation | None, context: AttentionContext) -> Tensor:
    """What the layer adds: beside what it passes on, a mistake might be small."""
    return ops.layer(layer, x, rotation, context) - x


def _outputs(
    compute: Compute, ops: Ops, layer: Layer, size: int, frequencies: Sequence[Frequencies]
) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    cache = ops.new_cache({layer.index: layer.shape}, NUM_BLOCKS, BLOCK)
    for chunks in _steps():
        batch = ops.build(chunks, cache)
        inputs = torch.randn(len(batch.positions), size, generator=generator).to(ops.device, ops.activations)
        rotation = None if layer.rope is None else ops.rotation(frequencies[layer.rope], batch.positions)
        yield compute(ops, layer, inputs, rotation, batch.context)


def _sharpened(layer: Layer) -> Layer:
    how = layer.shape.how
    how = how._replace(
        scale=how.scale * SHARPNESS,
        window=how.window and min(how.window, WINDOW),
        softcap=how.softcap and min(how.softcap, SOFTCAP),
    )
    return replace(layer, shape=replace(layer.shape, how=how))


def _steps() -> Iterator[list[Chunk]]:
    first, second, third = (lone_sequence([0] * length, BLOCK) for length in (90, 20, 40))
    first.block_table = token_array(range(7))
    second.block_table = token_array(range(7, 9))
    third.block_table = token_array([*range(SHARED // BLOCK), *range(9, 11)])
    yield [Chunk(first, 0, 70), Chunk(second, 0, 1)]
    yield [Chunk(first, 70, 20), Chunk(second, 1, 19), Chunk(third, SHARED, 40 - SHARED)]
    for step in range(3):
        decodes = [Chunk(seq, len(seq.token_ids), 1) for seq in (first, second, third)]
        for seq in (first, second, third):
            seq.token_ids.append(0)
        yield decodes if step else [*decodes, _fresh(11, 5)]


def _fresh(first_block: int, length: int) -> Chunk:
    seq = lone_sequence([0] * length, BLOCK)
    seq.block_table = token_array([first_block])
    return Chunk(seq, 0, length)
