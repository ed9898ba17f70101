"""Blocks are neither leaked nor owned twice, and a tenant only ever hits its own prefixes."""

from __future__ import annotations

from array import array
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.engine.block_manager import BlockManager
from inference.engine.sampling_params import SamplingParams
from inference.engine.sequence import Sequence

BLOCK_SIZE, NUM_BLOCKS = 4, 12
TOKENS = st.lists(st.integers(0, 1), min_size=1, max_size=20)  # two tokens, so that prefixes recur


def make_sequence(tokens: list[int], tenant: str = "a") -> Sequence:
    return Sequence("r", array("i", tokens), len(tokens), SamplingParams(), 0, 1000, (0, 0.0, 0), tenant)


def make_manager() -> BlockManager:
    return BlockManager(NUM_BLOCKS, BLOCK_SIZE, b"secret")


def compute(blocks: BlockManager, seq: Sequence, num_tokens: int) -> None:
    """A step does, and the logits after it are finite."""
    blocks.write(seq, num_tokens)
    seq.num_computed = num_tokens
    blocks.validate(seq, num_tokens)


def test_a_prefix_is_found_by_whole_blocks_and_one_token_is_left_to_compute() -> None:
    blocks = make_manager()
    first = make_sequence(list(range(12)))
    assert blocks.allocate(first)
    assert (first.num_computed, list(first.block_table)) == (0, [0, 1, 2])
    compute(blocks, first, 12)
    second = make_sequence([*range(8), 99, 98])
    assert blocks.allocate(second)
    assert (second.num_computed, list(second.block_table)) == (8, [0, 1, 3])
    same = make_sequence(list(range(12)))
    assert blocks.allocate(same)
    assert (same.num_computed, list(same.block_table)) == (8, [0, 1, 4])


def test_a_prefix_survives_its_owner_until_its_block_is_needed() -> None:
    blocks = make_manager()
    first = make_sequence(list(range(8)))
    blocks.allocate(first)
    compute(blocks, first, 8)
    blocks.release(first)
    assert blocks.num_free == NUM_BLOCKS
    again = make_sequence([*range(8), 50])
    blocks.allocate(again)
    assert again.num_computed == 8
    blocks.release(again)
    everything = make_sequence([77] * (NUM_BLOCKS * BLOCK_SIZE))
    assert blocks.allocate(everything)
    blocks.release(everything)
    late = make_sequence([*range(8), 50])
    blocks.allocate(late)
    assert late.num_computed == 0


def test_the_end_of_a_chain_is_evicted_before_its_beginning() -> None:
    blocks = make_manager()
    chain = make_sequence(list(range(12)))
    blocks.allocate(chain)
    compute(blocks, chain, 12)
    blocks.release(chain)
    filler = make_sequence([77] * ((NUM_BLOCKS - 2) * BLOCK_SIZE))
    assert blocks.allocate(filler)
    blocks.release(filler)
    again = make_sequence([*range(12), 50])
    blocks.allocate(again)
    assert again.num_computed == 8


def cached_tokens(blocks: BlockManager, tokens: list[int], tenant: str, num_shared: int) -> int:
    """How much of the prompt is found; the rest is computed and kept."""
    seq = make_sequence(tokens, tenant)
    seq.num_shared = num_shared
    assert blocks.allocate(seq)
    found = seq.num_computed
    compute(blocks, seq, len(tokens))
    blocks.release(seq)
    return found


def test_tenants_share_the_blocks_of_the_operators_words_and_no_further() -> None:
    prompt = list(range(20))
    blocks = make_manager()
    assert cached_tokens(blocks, prompt, "a", num_shared=10) == 0
    assert cached_tokens(blocks, prompt, "b", num_shared=10) == 8  # of the third block two are a tenant's own
    assert cached_tokens(blocks, prompt, "b", num_shared=10) == 16
    assert cached_tokens(blocks, prompt, "", num_shared=10) == 8


def test_a_tenants_words_are_not_found_by_one_who_calls_them_the_operators() -> None:
    blocks = make_manager()
    assert cached_tokens(blocks, list(range(12)), "a", num_shared=0) == 0
    assert cached_tokens(blocks, list(range(12)), "b", num_shared=12) == 0


def test_tenants_do_not_share() -> None:
    blocks = make_manager()
    first = make_sequence(list(range(8)), tenant="a")
    blocks.allocate(first)
    compute(blocks, first, 8)
    other = make_sequence([*range(8), 1], tenant="b")
    blocks.allocate(other)
    assert other.num_computed == 0
    assert not set(first.block_table) & set(other.block_table)


def test_a_digest_with_other_tokens_is_not_a_hit() -> None:
    blocks = make_manager()
    first = make_sequence(list(range(8)))
    blocks.allocate(first)
    compute(blocks, first, 8)
    blocks.blocks[first.block_table[0]].token_ids = array("i", [9, 9, 9, 9])
    again = make_sequence([*range(8), 1])
    blocks.allocate(again)
    assert again.num_computed == 0


def test_too_few_blocks_change_nothing() -> None:
    blocks = make_manager()
    held = make_sequence([5] * (10 * BLOCK_SIZE))
    blocks.allocate(held)
    wanting = make_sequence([6] * (3 * BLOCK_SIZE))
    assert not blocks.can_allocate(wanting)
    assert not blocks.allocate(wanting)
    assert (len(wanting.block_table), blocks.num_free) == (0, 2)
    fitting = make_sequence([6] * (2 * BLOCK_SIZE))
    assert not blocks.allocate(fitting, reserve=1)
    assert blocks.allocate(fitting)
    assert not blocks.grow(make_sequence([6]))


def test_discarded_blocks_leave_the_prefix_cache_and_sound_ones_stay() -> None:
    blocks = make_manager()
    seq = make_sequence(list(range(12)))
    blocks.allocate(seq)
    compute(blocks, seq, 12)
    blocks.discard(seq, num_valid=4)
    assert sorted(blocks.dirty) == [1, 2]
    again = make_sequence([*range(12), 50])
    blocks.allocate(again)
    assert again.num_computed == 4


def test_what_nobody_has_validated_is_known_while_it_has_an_owner_and_dirty_after_the_last() -> None:
    blocks = make_manager()
    first, second = make_sequence(list(range(14))), make_sequence([*range(8), 50])
    blocks.allocate(first)
    blocks.write(first, 12)
    first.num_computed = 12
    blocks.allocate(second)
    assert (second.num_computed, list(second.block_table)) == (8, [0, 1, 4])
    blocks.release(first)
    assert blocks.dirty == [2], "the last block was not written, and the others have an owner"
    blocks.release(second)
    assert blocks.dirty == [2, 1, 0]
    again = make_sequence(list(range(14)))
    blocks.allocate(again)
    assert again.num_computed == 0


def test_a_shared_block_is_sound_once_one_of_its_owners_has_seen_that() -> None:
    blocks = make_manager()
    first, second = make_sequence(list(range(12))), make_sequence([*range(8), 50])
    blocks.allocate(first)
    blocks.write(first, 12)
    first.num_computed = 12
    blocks.allocate(second)
    compute(blocks, second, 9)
    blocks.release(first)
    blocks.release(second)
    assert blocks.dirty == [2]


def test_a_block_that_a_later_step_writes_to_stays_suspect() -> None:
    blocks = make_manager()
    seq = make_sequence(list(range(6)))
    blocks.allocate(seq)
    blocks.write(seq, 5)
    blocks.write(seq, 6)
    seq.num_computed = 6
    blocks.validate(seq, 5)
    blocks.release(seq)
    assert blocks.dirty == [1]


class BlockLife(RuleBasedStateMachine):
    """Sequences of two tenants come, grow, fill blocks, go and fail in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = make_manager()
        self.owners: list[Sequence] = []

    @rule(tokens=TOKENS, tenant=st.sampled_from("ab"))
    def admit(self, tokens: list[int], tenant: str) -> None:
        seq = make_sequence(tokens, tenant)
        before = self.blocks.num_free
        if self.blocks.allocate(seq):
            self.owners.append(seq)
            assert seq.num_computed < len(tokens)
            assert seq.num_computed % BLOCK_SIZE == 0
            assert len(seq.block_table) == -(-len(tokens) // BLOCK_SIZE)
        else:
            assert self.blocks.num_free == before

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), token=st.integers(0, 1))
    def compute_and_grow(self, data: st.DataObject, token: int) -> None:
        seq = data.draw(st.sampled_from(self.owners))
        compute(self.blocks, seq, len(seq.token_ids))
        seq.token_ids.append(token)
        if not self.blocks.grow(seq):
            seq.token_ids.pop()

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def write_for_nothing(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(self.owners))
        self.blocks.write(seq, len(seq.token_ids))
        seq.num_computed = len(seq.token_ids)

    @rule()
    def wipe(self) -> None:
        self.blocks.dirty.clear()

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.blocks.release(self._take(data))

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        seq = self._take(data)
        self.blocks.discard(seq, data.draw(st.integers(0, len(seq.token_ids))))

    def _take(self, data: st.DataObject) -> Sequence:
        return self.owners.pop(data.draw(st.integers(0, len(self.owners) - 1)))

    @invariant()
    def references_are_counted(self) -> None:
        counts = Counter(block_id for seq in self.owners for block_id in seq.block_table)
        assert [block.ref_count for block in self.blocks.blocks] == [counts[n] for n in range(NUM_BLOCKS)]

    @invariant()
    def a_block_is_free_exactly_when_nobody_owns_it(self) -> None:
        owned = {block_id for seq in self.owners for block_id in seq.block_table}
        assert set(self.blocks._free) == set(range(NUM_BLOCKS)) - owned
        assert self.blocks.num_free == NUM_BLOCKS - len(owned)

    @invariant()
    def the_cache_names_blocks_that_hold_what_it_says(self) -> None:
        for digest, block_id in self.blocks._cached.items():
            assert self.blocks.blocks[block_id].digest == digest
        cached = [block.digest for block in self.blocks.blocks if block.digest is not None]
        assert sorted(cached) == sorted(self.blocks._cached)

    @invariant()
    def nobody_finds_what_is_suspect_and_has_no_owner(self) -> None:
        assert not any(block.suspect for n, block in enumerate(self.blocks.blocks) if n in self.blocks._free)

    @invariant()
    def owners_of_a_block_share_tenant_and_prefix(self) -> None:
        seen: dict[int, tuple[str, int, list[int]]] = {}
        for seq in self.owners:
            for index, block_id in enumerate(seq.block_table):
                prefix = list(seq.token_ids[: (index + 1) * BLOCK_SIZE])
                assert seen.setdefault(block_id, (seq.tenant, index, prefix)) == (seq.tenant, index, prefix)


TestBlockLife = BlockLife.TestCase
TestBlockLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
