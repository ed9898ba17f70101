from __future__ import annotations

import ctypes
import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.engine.attention import Attending, LayerShape
from inference.engine.cpu.attention import CpuCache, CpuContext
from inference.engine.cpu.planning import BLOCK, Planner, Stretch, shared_stretches
from inference.engine.sampling_params import SamplingParams
from inference.engine.sequence import Chunk, Sequence, token_array

PLAIN = Attending(0.0)  # the usual scale


@dataclass(frozen=True)
class Case:
    """A step over ``lengths`` tokens that each sequence has, of which it computes the last ``computed``."""

    lengths: tuple[int, ...]
    computed: tuple[int, ...]
    shared: int = 0  # blocks at the beginning that all have in common
    heads: int = 4
    kv_heads: int = 2
    dim: int = 32
    how: Attending = PLAIN

    @property
    def attending(self) -> Attending:
        return self.how._replace(scale=self.how.scale or self.dim**-0.5)


CASES = {
    "one decode": Case((37,), (1,)),
    "decodes of several lengths": Case((1, 16, 17, 200, 65), (1,) * 5),
    "a shared prefix": Case((70, 64, 90, 129), (1,) * 4, shared=3),
    "a shared prefix and a chunk": Case((70, 100, 64), (1, 30, 1), shared=2),
    "a whole prompt": Case((150,), (150,)),
    "a chunk after others": Case((150, 33), (70, 5)),
    "one head per key head": Case((40, 80), (1, 9), heads=3, kv_heads=3, dim=48),
    "many heads per key head": Case((300, 41), (1, 1), heads=16, kv_heads=2, dim=64),
    "the widest head": Case((70, 20), (1, 20), heads=2, kv_heads=1, dim=256),
    "a window": Case((200, 90), (1, 40), how=PLAIN._replace(window=24)),
    "a window over a shared prefix": Case((200, 90, 120), (1,) * 3, shared=4, how=PLAIN._replace(window=60)),
    "a soft cap": Case((50, 20), (1, 7), how=PLAIN._replace(softcap=5.0)),
    "a scale": Case((50,), (1,), how=PLAIN._replace(scale=0.3)),
}


class Step:
    """Sequences over a fresh cache, all keys and values written before the last ``computed`` of each."""

    def __init__(self, kernels: ctypes.CDLL, case: Case) -> None:
        self.case, self.planner = case, Planner(kernels)
        shape = LayerShape(case.kv_heads, case.dim, case.dim, case.attending)
        self.cache = CpuCache({0: shape}, num_blocks=128)
        order = np.random.default_rng(0).permutation(128).tolist()
        common = [order.pop() for _ in range(case.shared)]
        self.sequences = [self._sequence(number, length, common, order) for number, length in enumerate(case.lengths)]
        base = torch.randn(case.shared * BLOCK, case.kv_heads, case.dim)
        self.keys = [self._with_common(base, length) for length in case.lengths]
        self.values = [self._with_common(-base, length) for length in case.lengths]
        self.queries = [torch.randn(length, case.heads, case.dim) for length in case.lengths]

    def _sequence(self, number: int, length: int, common: list[int], order: list[int]) -> Sequence:
        seq = Sequence(str(number), token_array(range(length)), length, SamplingParams(), 0, length, (0, 0.0, number))
        own = -(-length // BLOCK) - len(common)
        seq.block_table = token_array(common + [order.pop() for _ in range(own)])
        return seq

    def _with_common(self, base: Tensor, length: int) -> Tensor:
        return torch.cat([base, torch.randn(length - len(base), *base.shape[1:])])

    def compute(self, first: list[int], last: list[int]) -> Tensor:
        """Attend the tokens ``first`` to ``last`` of each sequence that has any."""
        spans = [(n, a, b) for n, (a, b) in enumerate(zip(first, last, strict=True)) if b > a]
        chunks = [Chunk(self.sequences[n], a, b - a) for n, a, b in spans]
        context = self.planner.build(chunks, self.cache).context
        assert isinstance(context, CpuContext)
        pieces = [torch.cat([each[n][a:b] for n, a, b in spans]) for each in (self.queries, self.keys, self.values)]
        return context.attend(0, *pieces, self.case.attending)

    def run(self) -> Tensor:
        starts = [length - count for length, count in zip(self.case.lengths, self.case.computed, strict=True)]
        if any(starts):
            self.compute([0] * len(starts), starts)
        return self.compute(starts, list(self.case.lengths))

    def expected(self) -> Tensor:
        """The same in float64 over keys and values as the cache rounds them, sequence by sequence."""
        found = zip(self.queries, self.keys, self.values, self.case.computed, strict=True)
        return torch.cat([self._attend(*each) for each in found])

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, count: int) -> Tensor:
        case, length = self.case, len(keys)
        repeats = case.heads // case.kv_heads
        k, v = (each.bfloat16().double().repeat_interleave(repeats, 1) for each in (keys, values))
        scores = torch.einsum("qhd,khd->hqk", (queries[-count:] * case.attending.scale).bfloat16().double(), k)
        if case.how.softcap:
            scores = case.how.softcap * torch.tanh(scores / case.how.softcap)
        distance = torch.arange(length - count, length)[:, None] - torch.arange(length)
        hidden = (distance < 0) | (distance >= (case.how.window or length))
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        return torch.einsum("hqk,khd->qhd", weights, v)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("threads", [1, 2])
def test_attention_equals_that_over_all_keys(kernels: ctypes.CDLL, name: str, threads: int) -> None:
    torch.manual_seed(0)
    step = Step(kernels, CASES[name])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        output = step.run()
    finally:
        torch.set_num_threads(before)
    error = (output.double() - step.expected()).norm() / step.expected().norm()
    assert error < 5e-3  # weights of keys are rounded to bfloat16, too


def test_a_key_that_is_not_finite_spoils_the_rows_that_see_it(kernels: ctypes.CDLL) -> None:
    step = Step(kernels, Case((20, 20), (1, 1)))
    step.keys[1][3] = float("nan")
    output = step.run()
    assert output[0].isfinite().all()
    assert output[1].isnan().any()


def test_a_wiped_block_is_zeros_and_its_neighbours_are_not(kernels: ctypes.CDLL) -> None:
    step = Step(kernels, Case((16, 16), (1, 1)))
    step.run()
    first, second = (seq.block_table[0] for seq in step.sequences)
    step.cache.wipe([first])
    assert not step.cache.keys[0][first].any()
    assert not step.cache.values[0][first].any()
    assert step.cache.keys[0][second].any()


def test_what_tables_share_is_found_as_a_tree() -> None:
    tables = np.array([[1, 2, 3, 4, 9], [1, 2, 3, 4, 8], [1, 2, 7, 6, 5], [11, 12, 13, 14, 15]], dtype=np.int32)
    assert shared_stretches(tables, [4, 4, 4, 4]) == [Stretch([0, 1, 2], 0, 2), Stretch([0, 1], 2, 4)]


def test_one_block_is_not_worth_sharing() -> None:
    tables = np.array([[1, 2, 3], [1, 4, 5]], dtype=np.int32)
    assert shared_stretches(tables, [3, 3]) == []


def test_blocks_past_what_is_full_are_not_shared() -> None:
    tables = np.array([[1, 2, 3, 4], [1, 2, 3, 4]], dtype=np.int32)
    assert shared_stretches(tables, [2, 3]) == [Stretch([0, 1], 0, 2)]


def test_a_plan_follows_when_a_sequence_leaves(kernels: ctypes.CDLL) -> None:
    torch.manual_seed(1)
    step = Step(kernels, Case((70, 64, 90), (1, 1, 1), shared=3))
    step.run()
    alone = step.compute([69, 0, 89], [70, 0, 90])
    torch.testing.assert_close(alone.double(), step.expected()[[0, 2]], rtol=0.02, atol=0.01)


def test_the_next_decodes_take_over_the_plan_until_a_table_grows(
    kernels: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    lengths, arranged = (75, 68, 91), []
    step = Step(kernels, Case(lengths, (1, 1, 1), shared=3))
    arrange = step.planner._arrange
    monkeypatch.setattr(step.planner, "_arrange", lambda chunks: arranged.append(chunks[1].end) or arrange(chunks))
    step.compute([0, 0, 0], [length - 7 for length in lengths])
    tables = [seq.block_table[:] for seq in step.sequences]
    for back in range(6, -1, -1):
        known = [length - back for length in lengths]
        for seq, table, count in zip(step.sequences, tables, known, strict=True):
            seq.token_ids, seq.block_table[:] = token_array(range(count)), table[: -(-count // BLOCK)]
        output = step.compute([count - 1 for count in known], known)
    assert arranged == [61, 62, 65], "the prompt, the first decodes, and the first of a new block"
    torch.testing.assert_close(output.double(), step.expected(), rtol=0.02, atol=0.01)


def test_a_block_lies_side_by_side_for_all_layers() -> None:
    """Few blocks then touch few pages, whatever the number of layers."""
    layers, num_blocks = 30, 64
    cache = CpuCache({layer: LayerShape(3, 64, 64, Attending(0.125)) for layer in range(layers)}, num_blocks)
    parts = [store[layer] for store in (cache.keys, cache.values) for layer in range(layers)]
    block_bytes = cache.keys[0][0].nbytes

    places = sorted(part[5].data_ptr() for part in parts)

    assert [after - before for before, after in itertools.pairwise(places)] == [block_bytes] * (2 * layers - 1)
    parts[7][5] = parts[7][6] = 1.0
    cache.wipe([5])
    assert not any(part[5].any() for part in parts)
    assert parts[7][6].all()
