"""Who owns which block of the KV cache, and which free blocks still hold a known prefix.

A block with no owner stays in the free list, oldest first, and keeps its contents until it is taken:
the free list is the prefix cache. A full block is known by a SHA-256 digest of its tokens and of the
digest before it. The chain of a sequence passes through HMAC(secret, …, tenant): at its start or, when the
operator's own words come first, after the last block that holds nothing else. So a tenant can only ever
hit blocks that itself has filled, and those of the operator's words. After PagedAttention (SOSP 2023)
and the prefix caches of nano-vllm and vLLM.

What is written is suspect until a token after it had logits that are finite. A block that is suspect is known to
whoever comes while it has an owner, who will find out; when the last one lets go of it, it is forgotten and ``dirty``:
to be wiped before it is computed with again.
"""

from __future__ import annotations

import hashlib
import hmac
from array import array
from collections import OrderedDict

from .sequence import Sequence


class Block:
    __slots__ = ("digest", "ref_count", "suspect", "token_ids")

    def __init__(self) -> None:
        self.ref_count = 0
        self.suspect = False
        self.digest: bytes | None = None
        self.token_ids: array[int] = array("i")


class BlockManager:
    """Blocks are numbered 0 to ``num_blocks - 1`` and hold ``block_size`` tokens each. ``dirty``: those that may hold
    values that are not finite, for whoever computes the next step to wipe first and to take out.
    """

    def __init__(self, num_blocks: int, block_size: int, secret: bytes) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.blocks = [Block() for _ in range(num_blocks)]
        self.dirty: list[int] = []
        self._secret = secret
        self._root = hmac.digest(secret, b"operator", "sha256")
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))
        self._cached: dict[bytes, int] = {}

    @property
    def num_free(self) -> int:
        """Blocks without an owner, those that still hold a cached prefix included."""
        return len(self._free)

    def blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)

    def allocate(self, seq: Sequence, reserve: int = 0) -> bool:
        """Give ``seq`` blocks for all its tokens, cached ones first, and leave ``reserve`` blocks free.

        Returns ``False`` and changes nothing when there are not enough. ``num_computed`` becomes the
        number of tokens found in the cache, always fewer than there are, so that one can be sampled.
        """
        hits = self._match(seq)
        if not self._fits(seq, hits, reserve):
            return False
        for block_id in hits:
            self._acquire(block_id)
        seq.block_table = array("i", hits)
        self._extend(seq, self.blocks_for(seq.length) - len(hits))
        seq.num_committed = len(hits)
        seq.num_computed = seq.num_borrowed = len(hits) * self.block_size
        return True

    def can_allocate(self, seq: Sequence, reserve: int = 0) -> bool:
        return self._fits(seq, self._match(seq), reserve)

    def growth(self, seq: Sequence) -> int:
        """Blocks that ``seq`` lacks for its newest token."""
        return self.blocks_for(seq.length) - len(seq.block_table)

    def grow(self, seq: Sequence) -> bool:
        """Make room for the newest token. ``False`` when a block is needed and none is free."""
        needed = self.growth(seq)
        if needed > len(self._free):
            return False
        self._extend(seq, needed)
        return True

    def write(self, seq: Sequence, num_tokens: int) -> None:
        """A step that is scheduled writes ``seq`` up to ``num_tokens``, and whoever shares a block in the same step
        reads it after it was written, since a layer writes all keys and values before it attends.
        """
        for index in range(seq.num_computed // self.block_size, self.blocks_for(num_tokens)):
            self.blocks[seq.block_table[index]].suspect = True
        self._commit(seq, num_tokens)

    def validate(self, seq: Sequence, num_tokens: int) -> None:
        """The token after the first ``num_tokens`` had finite logits, which depend on all of these."""
        written = self.blocks_for(num_tokens) if num_tokens == seq.num_computed else num_tokens // self.block_size
        for index in range(seq.num_valid // self.block_size, written):
            self.blocks[seq.block_table[index]].suspect = False
        seq.num_valid = num_tokens
        self._commit(seq, num_tokens)

    def release(self, seq: Sequence) -> None:
        """Give up all blocks. The end of a chain is evicted before its beginning."""
        for block_id in reversed(seq.block_table):
            self._drop(block_id)
        seq.block_table = array("i")
        seq.num_committed = seq.num_computed = seq.num_valid = 0

    def discard(self, seq: Sequence, num_valid: int) -> None:
        """Release a sequence of which only the first ``num_valid`` tokens were computed soundly. The blocks that hold
        the others leave the prefix cache, whoever else has them.
        """
        for block_id in seq.block_table[num_valid // self.block_size : self.blocks_for(seq.num_computed)]:
            self._forget(block_id)
            self.blocks[block_id].suspect = True
        self.release(seq)

    def _commit(self, seq: Sequence, num_tokens: int) -> None:
        """Enter into the prefix cache the blocks that the first ``num_tokens`` tokens fill, as far as known."""
        for index in range(seq.num_committed, min(num_tokens, len(seq.token_ids)) // self.block_size):
            digest = self._digest(seq, index)
            if digest not in self._cached:
                block = self.blocks[seq.block_table[index]]
                block.digest, block.token_ids = digest, self._tokens(seq, index)
                self._cached[digest] = seq.block_table[index]
            seq.num_committed = index + 1

    def _fits(self, seq: Sequence, hits: list[int], reserve: int) -> bool:
        idle_hits = sum(1 for block_id in hits if self.blocks[block_id].ref_count == 0)
        new = self.blocks_for(seq.length) - len(hits)
        return new + idle_hits + reserve <= len(self._free)

    def _match(self, seq: Sequence) -> list[int]:
        hits: list[int] = []
        for index in range((len(seq.token_ids) - 1) // self.block_size if seq.borrows else 0):
            block_id = self._cached.get(self._digest(seq, index))
            if block_id is None or self.blocks[block_id].token_ids != self._tokens(seq, index):
                break
            hits.append(block_id)
        return hits

    def _digest(self, seq: Sequence, index: int) -> bytes:
        while len(seq.digests) <= index:
            parent, number = seq.digests[-1] if seq.digests else self._root, len(seq.digests)
            if number == seq.num_shared // self.block_size:
                parent = hmac.digest(self._secret, parent + seq.tenant.encode(), "sha256")
            seq.digests.append(hashlib.sha256(parent + self._tokens(seq, number).tobytes()).digest())
        return seq.digests[index]

    def _tokens(self, seq: Sequence, index: int) -> array[int]:
        return seq.token_ids[index * self.block_size : (index + 1) * self.block_size]

    def _extend(self, seq: Sequence, count: int) -> None:
        for _ in range(count):
            block_id, _ = self._free.popitem(last=False)
            self._forget(block_id)
            block = self.blocks[block_id]
            block.ref_count, block.suspect = 1, False
            seq.block_table.append(block_id)

    def _acquire(self, block_id: int) -> None:
        block = self.blocks[block_id]
        if block.ref_count == 0:
            del self._free[block_id]
        block.ref_count += 1

    def _drop(self, block_id: int) -> None:
        block = self.blocks[block_id]
        block.ref_count -= 1
        if block.ref_count == 0:
            self._free[block_id] = None
            if block.suspect:
                self._forget(block_id)
                self.dirty.append(block_id)
                block.suspect = False
            if block.digest is None:
                self._free.move_to_end(block_id, last=False)

    def _forget(self, block_id: int) -> None:
        block = self.blocks[block_id]
        if block.digest is not None:
            del self._cached[block.digest]
            block.digest = None
