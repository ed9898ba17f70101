"""Which tokens the next step computes.

Each step has one token budget. Running decodes come first, so that a long prompt never stalls the
answers being written; what is left goes to prefill chunks, in order of priority. A sequence takes the
blocks of all its known tokens when it is admitted and one more whenever it fills its last. When none is
left, the sequence of lowest priority gives its blocks back and is computed again later. A waiting sequence
of a better band takes the place of running ones of a worse band.

No clock, no thread, no I/O: a simulator may drive this with a time of its own.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator

from .block_manager import BlockManager
from .sequence import Chunk, Priority, Sequence, Status


class Scheduler:
    def __init__(self, blocks: BlockManager, max_num_seqs: int, max_batched_tokens: int) -> None:
        self.blocks = blocks
        self.max_num_seqs = max_num_seqs
        self.max_batched_tokens = max_batched_tokens
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.num_preemptions = 0

    @property
    def has_unfinished(self) -> bool:
        return bool(self.waiting or self.running)

    def add(self, seq: Sequence) -> None:
        seq.status = Status.WAITING
        insort(self.waiting, seq, key=_priority)

    def finish(self, seq: Sequence) -> None:
        """Take out a waiting or running sequence and free its blocks."""
        self._remove(seq)
        self.blocks.release(seq)

    def fail(self, chunks: list[Chunk]) -> None:
        """Take out the sequences whose chunks were not computed, or not soundly."""
        for chunk in chunks:
            self._remove(chunk.sequence)
            self.blocks.discard(chunk.sequence, num_valid=chunk.start)

    def requeue(self, chunks: list[Chunk]) -> None:
        """``chunks`` were not computed: their sequences get in line again."""
        self.fail(chunks)
        for chunk in chunks:
            chunk.sequence.pending = 0
            self.add(chunk.sequence)
        self.num_preemptions += len(chunks)

    def preempt_all(self) -> None:
        for seq in list(self.running):
            self._preempt(seq)

    @property
    def num_decoding(self) -> int:
        return sum(seq.decoding for seq in self.running)

    def num_young(self, most: int) -> int:
        """Of those, how many have written no more than ``most`` tokens."""
        return sum(seq.decoding and seq.num_output <= most for seq in self.running)

    @property
    def must_preempt(self) -> bool:
        """Whether the next ``schedule`` may take blocks from a running sequence."""
        free = self.blocks.num_free
        if free < len(self.running) and sum(self.blocks.growth(seq) for seq in self.running if seq.decoding) > free:
            return True
        return bool(self.waiting) and any(seq.band > self.waiting[0].band for seq in self.running)

    def schedule(self, prefill_limit: int | None = None) -> list[Chunk]:
        """The next step's chunks, decodes first; at least one while anything is unfinished and not under way.

        ``prefill_limit``: most tokens of prompts to compute; all of the budget when ``None``, and when 0 without
        a decode.
        """
        self._make_room_for_better_band()
        preemptions = self.num_preemptions
        chunks = list(self._decodes())
        budget = self.max_batched_tokens - len(chunks)
        if prefill_limit is not None and (chunks or prefill_limit > 0):
            budget = min(budget, prefill_limit)
        chunks += self._prefills(budget, admit=self.num_preemptions == preemptions)
        return chunks

    def advance(self, chunks: list[Chunk]) -> None:
        """Record that ``chunks`` are computed, or that a step is under way that does it."""
        for chunk in chunks:
            chunk.sequence.num_computed = chunk.end

    def _decodes(self) -> Iterator[Chunk]:
        decoding = sorted((seq for seq in self.running if seq.decoding), key=_priority)
        for seq in decoding:
            if seq.status is Status.RUNNING and self._grow(seq):
                yield self._chunk(seq, 1)

    def _grow(self, seq: Sequence) -> bool:
        # Victims come from the end of the order in which decodes are scheduled, so none of them
        # already has a chunk in this step.
        while not self.blocks.grow(seq):
            victim = max(self.running, key=_priority)
            self._preempt(victim)
            if victim is seq:
                return False
        return True

    def _prefills(self, budget: int, admit: bool) -> Iterator[Chunk]:
        prefilling = sorted((seq for seq in self.running if seq.num_remaining > 1), key=_priority)
        while budget > 0:
            if admit and self._is_next(self.waiting, prefilling):
                admit = self._admit(self.waiting[0])
                if admit:
                    prefilling.insert(0, self.running[-1])
            elif prefilling:
                seq = prefilling.pop(0)
                chunk = self._chunk(seq, min(seq.num_remaining, budget))
                budget -= chunk.length
                yield chunk
            else:
                return

    @staticmethod
    def _is_next(waiting: list[Sequence], prefilling: list[Sequence]) -> bool:
        return bool(waiting) and (not prefilling or waiting[0].priority < prefilling[0].priority)

    def _admit(self, seq: Sequence) -> bool:
        if len(self.running) >= self.max_num_seqs or not self.blocks.allocate(seq, reserve=len(self.running)):
            return False
        if seq.num_cached < 0:
            seq.num_cached = min(seq.num_computed, seq.num_prompt)
        self.waiting.remove(seq)
        self.running.append(seq)
        seq.status = Status.RUNNING
        return True

    def _chunk(self, seq: Sequence, length: int) -> Chunk:
        chunk = Chunk(seq, seq.num_computed, length)
        self.blocks.write(seq, chunk.end)
        return chunk

    def _make_room_for_better_band(self) -> None:
        while self.waiting and not self._admissible(self.waiting[0]):
            band = self.waiting[0].band
            victims = [seq for seq in self.running if seq.band > band]
            if not victims or not self._would_fit(self.waiting[0], victims):
                return
            self._preempt(max(victims, key=_priority))

    def _admissible(self, seq: Sequence) -> bool:
        has_slot = len(self.running) < self.max_num_seqs
        return has_slot and self.blocks.can_allocate(seq, reserve=len(self.running))

    def _would_fit(self, seq: Sequence, victims: list[Sequence]) -> bool:
        gain = sum(len(victim.block_table) for victim in victims)
        reserve = len(self.running) - len(victims)
        return self.blocks.blocks_for(seq.length) + reserve <= self.blocks.num_free + gain

    def _preempt(self, seq: Sequence) -> None:
        self.finish(seq)
        self.add(seq)
        self.num_preemptions += 1

    def _remove(self, seq: Sequence) -> None:
        (self.running if seq.status is Status.RUNNING else self.waiting).remove(seq)
        seq.status = Status.FINISHED


def _priority(seq: Sequence) -> Priority:
    return seq.priority
