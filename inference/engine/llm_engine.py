"""The engine: requests in, text out, step by step.

One thread owns an engine and makes all calls to it; nothing here locks. ``step`` computes one batch and never
raises for what a request did: a step that fails ends its own sequences with ``error``, and the engine
goes on with the others.
"""

from __future__ import annotations

import logging
import secrets
import time
from array import array
from collections.abc import Sequence as TokenIds
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer

from inference.engine.answer import Answer
from inference.engine.block_manager import BlockManager
from inference.engine.chat import ChatRenderer
from inference.engine.config import EngineConfig
from inference.engine.detokenizer import Detokenizer, choose_decoder
from inference.engine.generation_defaults import default_sampling, end_tokens
from inference.engine.loader import Progress, resolve_model, revision
from inference.engine.model_runner import ModelRunner, is_out_of_memory
from inference.engine.outputs import StepOutput
from inference.engine.pacing import MemoryLimits, Pacer
from inference.engine.sampling_params import SamplingParams
from inference.engine.scheduler import Scheduler
from inference.engine.sequence import Chunk, Sequence, token_array
from inference.engine.shaping import Shaping
from inference.errors import EngineError, OutOfMemory, PromptTooLong

if TYPE_CHECKING:
    from inference.engine.structured import GrammarCompiler

logger = logging.getLogger(__name__)

SEED_STRIDE = 0x2545F4914F6CDD1D  # between the answers to one prompt; any odd number


@dataclass(slots=True)
class _Totals:
    steps: int = 0
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


class LLMEngine:
    """Loads the model of ``config``; ``progress`` is told how far that is.

    context_length: most tokens of a prompt and its answer. default_sampling: the model's own settings.
    revision: which weights these are. Raises ``ModelNotFound`` and ``UnsupportedModel``.
    """

    def __init__(self, config: EngineConfig, progress: Progress = lambda share, detail: None) -> None:
        path = resolve_model(config.model, progress)
        self.config = config
        self.revision = revision(path)
        self.default_sampling = default_sampling(path)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True)
        self.runner = ModelRunner(path, config, progress)
        self.eos_token_ids = end_tokens(self.runner.model, self.tokenizer)
        self.blocks = BlockManager(self.runner.cache.num_blocks, config.block_size, config.prefix_salt)
        self.scheduler = Scheduler(self.blocks, config.max_num_seqs, config.max_batched_tokens)
        self.pacer = Pacer(config.max_batched_tokens)
        self.limits = MemoryLimits(config.max_batched_tokens, config.max_num_seqs)
        kv_tokens = self.runner.cache.num_blocks * config.block_size
        self.context_length = min(kv_tokens, self.runner.max_model_len or kv_tokens)
        chat = ChatRenderer(self.tokenizer)
        self.render_chat, self.shared_prefix = chat.render, chat.shared_prefix
        self._decoder = choose_decoder(self.tokenizer)
        self._requests: dict[str, list[Answer]] = {}  # the answers still being written
        self._answers: dict[Sequence, Answer] = {}
        self._over: list[StepOutput] = []  # resumed requests that turned out to be at their end already
        self._arrivals = count(1)
        self._totals = _Totals()
        progress(1.0, "Ready")

    def sampling_params(self, **choices: Any) -> SamplingParams:
        """``choices`` by ``SamplingParams``' names; ``None`` leaves one to the model's own settings."""
        chosen = {name: value for name, value in choices.items() if value is not None}
        return SamplingParams(**(self.default_sampling | chosen))

    def add_request(
        self,
        request_id: str,
        prompt: str | TokenIds[int],
        params: SamplingParams,
        *,
        tenant: str = "",
        band: int = 0,
        counter: float = 0.0,
        shared_prefix_tokens: int = 0,
        resume_token_ids: TokenIds[int] = (),
    ) -> None:
        """Queue an answer, or ``params.n``. The lowest (band, counter) runs first; bands above 0 are preemptible.

        ``resume_token_ids`` are the answer's tokens so far, from another engine: the outputs contain only
        what comes after the text that those tokens made final. Prefixes are shared within ``tenant``, and with
        all others in the first ``shared_prefix_tokens``, which must say nothing of the tenant's own.
        Several answers share the blocks that the prompt fills.
        Raises ``PromptTooLong``, ``InvalidStructure``, and ``ValueError`` for an id in use, an empty prompt,
        unknown tokens or several answers to resume.
        """
        prompt_ids = self._checked_prompt(
            request_id, prompt, (*resume_token_ids, *params.logit_bias, *params.stop_token_ids)
        )
        if params.n > 1 and resume_token_ids:
            raise ValueError("only a single answer can be resumed: n must be 1")
        seed = secrets.randbits(63) if params.seed is None else params.seed
        end_ids = frozenset(params.stop_token_ids) | (frozenset() if params.ignore_eos else self.eos_token_ids)
        answers = []
        for index in range(params.n):
            grammar = self._grammar(params.structured_outputs) if params.structured_outputs else None
            seq = Sequence(
                request_id=request_id,
                token_ids=prompt_ids[:],
                num_prompt=len(prompt_ids),
                params=params,
                seed=seed + index * SEED_STRIDE,
                max_length=min(len(prompt_ids) + params.max_tokens, self.context_length),
                priority=(band, counter, next(self._arrivals)),
                tenant=tenant,
                num_shared=shared_prefix_tokens,
                index=index,
                end_ids=end_ids,
                shaping=Shaping.for_params(params, prompt_ids, end_ids, grammar),
            )
            detokenizer = Detokenizer(self._decoder(prompt_ids), params.stop_strings, params.min_tokens)
            answers.append(Answer(seq, detokenizer, time.perf_counter()))
        for answer in answers:
            self._enter(answer, resume_token_ids)

    def step(self) -> list[StepOutput]:
        """Compute one batch. One output for every answer that got a token or ended."""
        over, self._over = self._over, []
        began = time.perf_counter()
        chunks = self.scheduler.schedule(self.pacer.limit(self.scheduler.num_decoding))
        if not chunks:
            return over
        self._note_admissions(chunks, began)
        scheduled = time.perf_counter()
        self._totals.schedule_seconds += scheduled - began
        try:
            token_ids = self.runner.execute(chunks)
        except Exception as error:  # whatever a model raises must not end the loop
            return over + self._survive(chunks, error)
        self.pacer.observe(chunks, time.perf_counter() - scheduled)
        self.limits.recover()
        self._keep_limits()
        return over + self._take(chunks, token_ids)

    def abort(self, request_id: str) -> bool:
        """Drop a request's answers and free their blocks at once. ``False`` when there is none under this id."""
        self._over = [output for output in self._over if output.request_id != request_id]
        answers = self._requests.pop(request_id, [])
        for answer in answers:
            del self._answers[answer.sequence]
            self.scheduler.finish(answer.sequence)
        return bool(answers)

    @property
    def has_unfinished(self) -> bool:
        return bool(self._over) or self.scheduler.has_unfinished

    @property
    def free_slots(self) -> int:
        """How many more answers would start without waiting for a place in the batch."""
        return max(0, self.config.max_num_seqs - len(self._answers))

    @property
    def free_kv_tokens(self) -> int:
        """Tokens that fit the KV cache besides those running and waiting."""
        waiting = sum(self.blocks.blocks_for(len(seq.token_ids)) for seq in self.scheduler.waiting)
        return max(0, self.blocks.num_free - waiting) * self.config.block_size

    def counters(self) -> dict[str, float]:
        """Sums since the start, and how full the engine is now. Seconds are of the owner thread's clock."""
        return asdict(self._totals) | {
            "model_seconds": self.runner.model_seconds,
            "sample_seconds": self.runner.sample_seconds,
            "preemptions": self.scheduler.num_preemptions,
            "running": len(self.scheduler.running),
            "waiting": len(self.scheduler.waiting),
            "kv_blocks": self.blocks.num_blocks,
            "kv_blocks_used": self.blocks.num_blocks - self.blocks.num_free,
        }

    @cached_property
    def _grammar(self) -> GrammarCompiler:
        from inference.engine.structured import GrammarCompiler  # with its library, where someone asks for it

        return GrammarCompiler(self.tokenizer, self.runner.vocab_size, self.eos_token_ids)

    def _checked_prompt(self, request_id: str, prompt: str | TokenIds[int], others: TokenIds[int]) -> array[int]:
        if request_id in self._requests:
            raise ValueError(f"request {request_id} is already running")
        ids = token_array(self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt)
        if not ids:
            raise ValueError("the prompt has no tokens")
        if not all(0 <= token < self.runner.vocab_size for token in (min(ids), max(ids), *others)):
            raise ValueError(f"token ids must be in [0, {self.runner.vocab_size})")
        if len(ids) >= self.context_length:
            raise PromptTooLong(f"The prompt has {len(ids)} tokens; {self.context_length - 1} fit.")
        return ids

    def _enter(self, answer: Answer, resume_token_ids: TokenIds[int]) -> None:
        """Replay the resumed tokens, which also finds that the answer had ended, and queue it."""
        for token_id in resume_token_ids:
            text, reason = answer.append(token_id)
            if reason is not None:
                self._over.append(answer.output(time.perf_counter(), (), text, reason))
                return
        self._answers[answer.sequence] = answer
        self._requests.setdefault(answer.sequence.request_id, []).append(answer)
        self.scheduler.add(answer.sequence)

    def _take(self, chunks: list[Chunk], token_ids: list[int]) -> list[StepOutput]:
        began = time.perf_counter()
        sampling = [chunk for chunk in chunks if chunk.samples]
        self.scheduler.advance(chunks)
        self._totals.steps += 1
        self._totals.batched_sequences += len(chunks)
        self._totals.computed_tokens += sum(chunk.length for chunk in chunks)
        self._totals.decode_tokens += sum(chunk.length == 1 for chunk in chunks)
        outputs = []
        for chunk, token_id in zip(sampling, token_ids, strict=True):
            outputs += self._take_token(chunk, token_id, began)
        self._totals.detokenize_seconds += time.perf_counter() - began
        return outputs

    def _take_token(self, chunk: Chunk, token_id: int, now: float) -> list[StepOutput]:
        if token_id < 0:
            # An earlier chunk of the prompt may have brought it about: nothing of the sequence is kept.
            chunk = Chunk(chunk.sequence, 0, chunk.end)
            return self._fail([chunk], "the model's logits are not finite", EngineError.code)
        answer = self._answers[chunk.sequence]
        answer.first_token = answer.first_token or now
        text, reason = answer.append(token_id)
        self._totals.output_tokens += 1
        if reason is not None:
            self.scheduler.finish(chunk.sequence)
            self._forget(answer)
        return [answer.output(now, (token_id,), text, reason)]

    def _forget(self, answer: Answer) -> None:
        del self._answers[answer.sequence]
        siblings = self._requests[answer.sequence.request_id]
        siblings.remove(answer)
        if not siblings:
            del self._requests[answer.sequence.request_id]

    def _survive(self, chunks: list[Chunk], error: Exception) -> list[StepOutput]:
        """A step without enough memory is tried again with less in it; any other failure ends its sequences."""
        self._totals.failed_steps += 1
        self._totals.out_of_memory_steps += is_out_of_memory(error)
        if is_out_of_memory(error) and self.limits.shrink(chunks):
            logger.warning("out of memory: steps of %d tokens from here on", self.limits.tokens)
            self._keep_limits()
            self.runner.wipe(self.scheduler.retract(chunks))
            return []
        logger.error("a step with %d sequences failed", len(chunks), exc_info=error)
        kind = OutOfMemory if is_out_of_memory(error) else EngineError
        return self._fail(chunks, f"{type(error).__name__}: {error}", kind.code)

    def _keep_limits(self) -> None:
        self.scheduler.max_batched_tokens, self.scheduler.max_num_seqs = self.limits.tokens, self.limits.seqs

    def _fail(self, chunks: list[Chunk], error: str, code: str) -> list[StepOutput]:
        answers = [self._answers[chunk.sequence] for chunk in chunks]
        self.runner.wipe(self.scheduler.fail(chunks))
        for answer in answers:
            answer.error, answer.error_code = error, code
            self._forget(answer)
        return [answer.output(time.perf_counter(), (), "", "error") for answer in answers]

    def _note_admissions(self, chunks: list[Chunk], now: float) -> None:
        for chunk in chunks:
            answer = self._answers[chunk.sequence]
            if not answer.admitted:
                answer.admitted = now
                self._totals.prompt_tokens += chunk.sequence.num_prompt
                self._totals.prefix_hit_tokens += chunk.sequence.num_cached
