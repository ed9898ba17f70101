"""One answer being written, as scheduler and block manager see it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence as TokenIds
from dataclasses import dataclass, field
from enum import Enum

from .outputs import TokenLogprobs
from .sampling_params import SamplingParams
from .shaping import Shaping


class Status(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


Priority = tuple[int, float, int]  # band, virtual counter, order of arrival: the lowest goes first


@dataclass(slots=True, eq=False)
class Sequence:
    """Prompt and answer tokens, and how far they are computed.

    ``token_ids`` holds prompt and answer. The first ``num_computed`` of them have their keys and values
    in the blocks of ``block_table``, and the first ``num_valid`` are known to be sound; ``digests`` are the hashes
    of its full blocks, computed once, and the first ``num_committed`` of those blocks are in the prefix cache.
    ``num_borrowed`` tokens of them others have computed; ``borrows`` says whether that is wanted.
    ``max_length`` caps ``token_ids``. The first ``num_shared`` tokens are the operator's own words, the same for
    every tenant.
    ``num_cached`` counts the prompt tokens that the prefix cache spared at first admission.
    ``index`` numbers the answers to one prompt; ``end_ids`` are the tokens that end this one. ``logprobs``
    are those of the token sampled last, where the parameters ask for them.
    ``drawn_before`` tokens were drawn by the same seed before the answer's first here.
    ``pending`` tokens more are drawn by steps under way and known to the device alone; ``drawn_row`` is the row
    in which the newest is drawn.
    """

    request_id: str
    token_ids: array[int]
    num_prompt: int
    params: SamplingParams
    seed: int
    max_length: int
    priority: Priority
    tenant: str = ""
    num_shared: int = 0
    status: Status = Status.WAITING
    block_table: array[int] = field(default_factory=lambda: array("i"))
    digests: list[bytes] = field(default_factory=list)
    num_committed: int = 0
    num_computed: int = 0
    num_valid: int = 0
    num_borrowed: int = 0
    borrows: bool = True
    num_cached: int = -1
    index: int = 0
    end_ids: frozenset[int] = frozenset()
    shaping: Shaping | None = None
    logprobs: TokenLogprobs | None = None
    drawn_before: int = 0
    pending: int = 0
    drawn_row: int = 0

    @property
    def band(self) -> int:
        return self.priority[0]

    @property
    def length(self) -> int:
        """Tokens of prompt and answer, those included that only the device knows."""
        return len(self.token_ids) + self.pending

    @property
    def num_output(self) -> int:
        return self.length - self.num_prompt

    @property
    def num_remaining(self) -> int:
        """Tokens to compute before the next one can be sampled; 1 while decoding."""
        return len(self.token_ids) + self.pending - self.num_computed

    @property
    def decoding(self) -> bool:
        """One token is to be computed, and the answer goes on after it as far as is known."""
        length = len(self.token_ids) + self.pending
        return length - self.num_computed == 1 and length < self.max_length


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens ``start`` to ``start + length`` of a sequence, computed in one step."""

    sequence: Sequence
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def samples(self) -> bool:
        """Whether the chunk reaches the last token, so that the next one can be sampled. Asked at its launch."""
        return self.end == self.sequence.length

    @property
    def token_ids(self) -> array[int]:
        """-1 - k stands for the k-th token that the step before this one draws."""
        ids = self.sequence.token_ids[self.start : self.end]
        if len(ids) < self.length:
            ids.append(-1 - self.sequence.drawn_row)
        return ids


def lone_sequence(token_ids: TokenIds[int], block_size: int) -> Sequence:
    """One in the first blocks of a cache of its own, to try a model with."""
    length = len(token_ids)
    seq = Sequence("probe", token_array(token_ids), length, SamplingParams(), 0, length, (0, 0.0, 0))
    seq.block_table = token_array(range(-(-length // block_size)))
    return seq


def token_array(token_ids: TokenIds[int]) -> array[int]:
    return array("i", token_ids)
