"""Steps: what they compute, and what becomes of their tokens.

With ``overlap`` a step is launched before the tokens of the one before are known: these stay on the device, and the
host deals with them while it computes. The new step has at most one token too many for a sequence that turns out to
have ended, which nobody sees. Where the host is needed in between, it goes first: a grammar or a penalty
wants the token, or blocks would have to be taken from a sequence that is being computed.
(After vLLM's asynchronous scheduling and SGLang's overlapped scheduler.)
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import asdict, dataclass, field

from ..errors import EngineError, OutOfMemory
from .answer import Answer
from .block_manager import BlockManager
from .config import EngineConfig
from .model_runner import ModelRunner, is_out_of_memory
from .outputs import StepOutput
from .pacing import YOUNG, MemoryLimits, Pacer
from .sampler import Drawn
from .scheduler import Scheduler
from .sequence import Chunk, Sequence

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Totals:
    steps: int = 0
    overlapped_steps: int = 0  # launched while another was under way
    failed_steps: int = 0
    out_of_memory_steps: int = 0  # of the failed ones
    batched_sequences: int = 0
    computed_tokens: int = 0
    decode_tokens: int = 0  # of the computed ones
    output_tokens: int = 0
    prompt_tokens: int = 0
    prefix_hit_tokens: int = 0
    schedule_seconds: float = 0.0
    detokenize_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Flight:
    """A step under way. ``sampling``: those of its chunks whose next token it draws."""

    chunks: list[Chunk]
    sampling: list[Chunk]
    drawn: Drawn | Exception
    began: float
    needs_host: bool  # before the next step can be launched
    void: set[Sequence] = field(default_factory=set)  # those whose chunks count for nothing, since they begin anew


class Steps:
    """Computes the answers that are added, until each has ended or is dropped."""

    def __init__(self, runner: ModelRunner, config: EngineConfig) -> None:
        self.runner = runner
        self.blocks = BlockManager(runner.cache.num_blocks, config.block_size, config.prefix_salt)
        self.scheduler = Scheduler(self.blocks, config.max_num_seqs, config.max_batched_tokens)
        self._pacer = Pacer(config.max_batched_tokens)
        self._limits = MemoryLimits(config.max_batched_tokens, config.max_num_seqs)
        self._answers: dict[Sequence, Answer] = {}
        self._flights: deque[_Flight] = deque()  # at most one between two calls
        self._landed = 0.0  # when the last one did
        self._totals = _Totals()

    def __len__(self) -> int:
        """Answers still being written."""
        return len(self._answers)

    @property
    def has_unfinished(self) -> bool:
        return bool(self._flights) or self.scheduler.has_unfinished

    def add(self, answer: Answer) -> None:
        self._answers[answer.sequence] = answer
        self.scheduler.add(answer.sequence)

    def drop(self, answer: Answer) -> None:
        """Free its blocks at once; a step under way computes it for nobody."""
        del self._answers[answer.sequence]
        self.scheduler.finish(answer.sequence)

    def step(self) -> list[StepOutput]:
        """See ``LLMEngine.step``."""
        outputs: list[StepOutput] = []
        if self._flights and (self._flights[0].needs_host or self.scheduler.must_preempt):
            outputs += self._land()
        launched = self._launch()
        while len(self._flights) > (launched and self.runner.overlaps):
            outputs += self._land()
        return outputs

    def counters(self) -> dict[str, float]:
        """See ``LLMEngine.counters``."""
        return asdict(self._totals) | {
            "model_seconds": self.runner.model_seconds,
            "sample_seconds": self.runner.sample_seconds,
            "preemptions": self.scheduler.num_preemptions,
            "running": len(self.scheduler.running),
            "waiting": len(self.scheduler.waiting),
            "kv_blocks": self.blocks.num_blocks,
            "kv_blocks_used": self.blocks.num_blocks - self.blocks.num_free,
        }

    def _launch(self) -> bool:
        """Start the next step. ``False`` when there is nothing to compute."""
        began = time.perf_counter()
        limit = self._pacer.limit(self.scheduler.num_decoding, self.scheduler.num_young(YOUNG))
        chunks = self.scheduler.schedule(limit)
        if not chunks:
            return False
        self._note_admissions(chunks, began)
        scheduled = time.perf_counter()
        self._totals.schedule_seconds += scheduled - began
        self._totals.overlapped_steps += bool(self._flights)
        sampling = [chunk for chunk in chunks if chunk.samples]
        drawn = self._compute(chunks)
        self.scheduler.advance(chunks)
        for row, chunk in enumerate(sampling):
            chunk.sequence.pending += 1
            chunk.sequence.drawn_row = row
        needs_host = any(chunk.sequence.shaping and chunk.sequence.shaping.follows for chunk in sampling)
        self._flights.append(_Flight(chunks, sampling, drawn, scheduled, needs_host))
        return True

    def _compute(self, chunks: list[Chunk]) -> Drawn | Exception:
        """See ``ModelRunner.launch``; first, what others have left in blocks that may be these chunks' now is wiped."""
        try:
            self.runner.wipe(self.blocks.dirty)
        except RuntimeError as error:  # not even memory for that: the blocks stay as they are, and so does the list
            return error
        self.blocks.dirty.clear()
        return self.runner.launch(chunks)

    def _land(self) -> list[StepOutput]:
        """Wait for the oldest step under way, and take its tokens in."""
        flight = self._flights.popleft()
        try:
            token_ids, logprobs = self.runner.collect(flight.drawn)
        except Exception as error:  # whatever a model raises must not end the loop
            return self._survive(flight, error)
        now = time.perf_counter()
        self._pacer.observe(flight.chunks, now - max(flight.began, self._landed))
        self._landed = now
        self._limits.recover()
        self._keep_limits()
        self._count(flight.chunks)
        outputs = []
        for row, (chunk, token_id) in enumerate(zip(flight.sampling, token_ids, strict=True)):
            if self._counts(flight, chunk):
                chunk.sequence.logprobs = logprobs.get(row)
                outputs += self._take_token(chunk, token_id, now)
        self._totals.detokenize_seconds += time.perf_counter() - now
        return outputs

    def _count(self, chunks: list[Chunk]) -> None:
        self._totals.steps += 1
        self._totals.batched_sequences += len(chunks)
        self._totals.computed_tokens += sum(chunk.length for chunk in chunks)
        self._totals.decode_tokens += sum(chunk.length == 1 for chunk in chunks)

    def _take_token(self, chunk: Chunk, token_id: int, now: float) -> list[StepOutput]:
        if token_id < 0:
            return self._doubt(chunk.sequence)
        answer = self._answers[chunk.sequence]
        answer.first_token = answer.first_token or now
        chunk.sequence.pending -= 1
        text, reason = answer.append(token_id)
        self.blocks.validate(chunk.sequence, chunk.end)
        self._totals.output_tokens += 1
        if reason is not None:
            self.scheduler.finish(chunk.sequence)
            del self._answers[chunk.sequence]
        return [answer.output(now, (token_id,), text, reason)]

    def _doubt(self, seq: Sequence) -> list[StepOutput]:
        """Its logits are not finite, which an earlier chunk of the prompt may have brought about, or whoever computed a
        block that it shares: nothing is kept, and what began with the work of others is computed without.
        """
        whole = Chunk(seq, 0, seq.num_computed)
        if not seq.num_borrowed:
            return self._fail([whole], "the model's logits are not finite", EngineError.code)
        seq.borrows = False
        for flight in self._flights:
            flight.void.add(seq)
        self.scheduler.requeue([whole])
        return []

    def _counts(self, flight: _Flight, chunk: Chunk) -> bool:
        """Its answer is not over since, and did not begin anew."""
        return chunk.sequence in self._answers and chunk.sequence not in flight.void

    def _survive(self, flight: _Flight, error: Exception) -> list[StepOutput]:
        """A step without enough memory is tried again with less in it; any other failure ends its sequences.

        What was launched after it went on from what it did not compute, and is computed again.
        """
        self._totals.failed_steps += 1
        self._totals.out_of_memory_steps += is_out_of_memory(error)
        lost = [chunk for chunk in flight.chunks if self._counts(flight, chunk)]
        after = self._call_back({chunk.sequence for chunk in lost})
        traceback, error.__traceback__ = error.__traceback__, None  # it holds what the step had computed
        if is_out_of_memory(error) and self._limits.shrink(flight.chunks):
            logger.warning("out of memory: steps of %d tokens from here on", self._limits.tokens)
            self._keep_limits()
            self.scheduler.requeue([*lost, *after])
            self.scheduler.preempt_all()
            return []
        logger.error("a step with %d sequences failed", len(flight.chunks), exc_info=(type(error), error, traceback))
        del traceback
        kind = OutOfMemory if is_out_of_memory(error) else EngineError
        self.scheduler.requeue(after)
        return self._fail(lost, f"{type(error).__name__}: {error}", kind.code)

    def _call_back(self, lost: set[Sequence]) -> list[Chunk]:
        """Forget the steps under way; their chunks, but for those of sequences that are ``lost`` or over."""
        flights, self._flights = self._flights, deque()
        chunks = [chunk for flight in flights for chunk in flight.chunks if self._counts(flight, chunk)]
        return [chunk for chunk in chunks if chunk.sequence not in lost]

    def _keep_limits(self) -> None:
        self.scheduler.max_batched_tokens, self.scheduler.max_num_seqs = self._limits.tokens, self._limits.seqs

    def _fail(self, chunks: list[Chunk], error: str, code: str) -> list[StepOutput]:
        answers = [self._answers.pop(chunk.sequence) for chunk in chunks]
        self.scheduler.fail(chunks)
        for answer in answers:
            answer.error, answer.error_code = error, code
        return [answer.output(time.perf_counter(), (), "", "error") for answer in answers]

    def _note_admissions(self, chunks: list[Chunk], now: float) -> None:
        for chunk in chunks:
            answer = self._answers[chunk.sequence]
            if not answer.admitted:
                answer.admitted = now
                self._totals.prompt_tokens += chunk.sequence.num_prompt
                self._totals.prefix_hit_tokens += chunk.sequence.num_cached
