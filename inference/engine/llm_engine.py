"""The engine: requests in, text out, step by step.

One thread owns an engine and makes all calls to it; nothing here locks. ``step`` computes one batch and never
raises for what a request did: a step that fails ends its own sequences with ``error``, and the engine
goes on with the others.
"""

from __future__ import annotations

import secrets
import time
from array import array
from collections.abc import Sequence as TokenIds
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

from ..errors import PromptTooLong
from .answer import Answer
from .chat import ChatRenderer
from .config import EngineConfig
from .detokenizer import Detokenizer, choose_decoder
from .hub import Progress, resolve_model
from .loader import end_tokens, load_tokenizer, revision
from .model_runner import ModelRunner
from .outputs import StepOutput
from .sampling_defaults import default_sampling
from .sampling_params import SamplingParams
from .sequence import Sequence, token_array
from .shaping import Shaping
from .stepping import Steps

if TYPE_CHECKING:
    from .structured import Grammar, GrammarCompiler

ANY_SEED = -1
SEED_STRIDE = 0x2545F4914F6CDD1D  # between the answers to one prompt; any odd number


class LLMEngine:
    """Loads the model of ``config``; ``progress`` is told how far that is.

    context_length: most tokens of a prompt and its answer. default_sampling: the model's own settings.
    revision: which weights these are. Raises ``ModelNotFound`` and ``UnsupportedModel``.
    """

    def __init__(self, config: EngineConfig, progress: Progress = lambda share, detail: None) -> None:
        path = resolve_model(config.model, progress)
        self.config = config
        self.revision = revision(path)
        self.default_sampling = default_sampling(path, config.model)
        self.tokenizer: Any = load_tokenizer(path)
        self.runner = ModelRunner(path, config, progress)
        self.eos_token_ids = end_tokens(path, self.tokenizer)
        self._steps = Steps(self.runner, config)
        self.blocks, self.scheduler = self._steps.blocks, self._steps.scheduler
        kv_tokens = self.runner.cache.num_blocks * config.block_size
        self.context_length = min(kv_tokens, self.runner.max_model_len or kv_tokens)
        chat = ChatRenderer(self.tokenizer)  # whose methods may be called in any thread
        self.render_chat, self.shared_prefix, self.encode_text = chat.render, chat.shared_prefix, chat.encode_text
        self._decoder = choose_decoder(self.tokenizer, config.visible_tokens)
        self._requests: dict[str, dict[int, Answer]] = {}  # the answers still being written, by their index
        self._over: list[StepOutput] = []  # resumed requests that turned out to be at their end already
        self._arrivals = count(1)
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
        drawn_before: int = 0,
        grammars: TokenIds[Grammar] | None = None,
    ) -> str:
        """Queue an answer, or ``params.n``. The lowest (band, counter) runs first; bands above 0 are preemptible.

        ``resume_token_ids`` are the answer's tokens so far, from another engine: the outputs contain only
        what comes after the text that those tokens made final, which is returned. Prefixes are shared
        within ``tenant``, and with all others in the first ``shared_prefix_tokens``, which must say
        nothing of the tenant's own.
        ``drawn_before`` tokens more were drawn by the same seed, whose text is at the prompt's end. ``grammars``, from
        the method of that name, are made here unless they are given. Several answers share the blocks that the prompt
        fills.
        Raises ``PromptTooLong``, ``InvalidStructure``, and ``ValueError`` for an id in use, an empty prompt,
        unknown tokens or several answers to resume.
        """
        prompt_ids = self._checked_prompt(
            request_id, prompt, (*resume_token_ids, *params.logit_bias, *params.stop_token_ids)
        )
        if params.n > 1 and resume_token_ids:
            raise ValueError("only a single answer can be resumed: n must be 1")
        seed = secrets.randbits(63) if params.seed in (None, ANY_SEED) else params.seed
        grammars = self.grammars(params) if grammars is None else grammars
        end_ids = frozenset(params.stop_token_ids) | (frozenset() if params.ignore_eos else self.eos_token_ids)
        answers = []
        for index in range(params.n):
            grammar = grammars[index] if grammars else None
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
                drawn_before=drawn_before,
                shaping=Shaping.for_params(params, prompt_ids, end_ids, grammar),
            )
            detokenizer = Detokenizer(self._decoder(prompt_ids), params.stop_strings, params.min_tokens)
            answers.append(Answer(seq, detokenizer, time.perf_counter()))
        return "".join([self._enter(answer, resume_token_ids) for answer in answers])

    def grammars(self, params: SamplingParams) -> list[Grammar]:
        """What each of the answers has to follow, none where nothing is asked. It may take seconds, and may be called
        in another thread, one at a time. Raises ``InvalidStructure``.
        """
        return [self._grammar(params.structured_outputs) for _ in range(params.n)] if params.structured_outputs else []

    def step(self) -> list[StepOutput]:
        """Compute one batch. One output for every answer that got a token or ended: with ``overlap`` those of the
        batch before, computed since the last call.
        """
        over, self._over = self._over, []
        outputs = self._steps.step()
        for output in outputs:
            if output.finish_reason is not None:
                self._forget(output)
        return over + outputs

    def abort(self, request_id: str) -> bool:
        """Drop a request's answers and free their blocks at once. ``False`` when there is none under this id."""
        self._over = [output for output in self._over if output.request_id != request_id]
        answers = self._requests.pop(request_id, {})
        for answer in answers.values():
            self._steps.drop(answer)
        return bool(answers)

    @property
    def has_unfinished(self) -> bool:
        return bool(self._over) or self._steps.has_unfinished

    @property
    def free_slots(self) -> int:
        """How many more answers would start without waiting for a place in the batch."""
        return max(0, self.config.max_num_seqs - len(self._steps))

    @property
    def free_kv_tokens(self) -> int:
        """Tokens that fit the KV cache besides those running and waiting."""
        waiting = sum(self.blocks.blocks_for(len(seq.token_ids)) for seq in self.scheduler.waiting)
        return max(0, self.blocks.num_free - waiting) * self.config.block_size

    def counters(self) -> dict[str, float]:
        """Sums since the start, and how full the engine is now. Seconds are of the threads that compute."""
        return self._steps.counters()

    @cached_property
    def _grammar(self) -> GrammarCompiler:
        from .structured import GrammarCompiler  # with its library, where someone asks for it

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

    def _enter(self, answer: Answer, resume_token_ids: TokenIds[int]) -> str:
        """Replay the resumed tokens, which also finds that the answer had ended, and queue it. Returns their text."""
        told, reason = answer.resume(resume_token_ids)
        if reason is not None:
            held = answer.detokenizer.finish()
            self._over.append(answer.output(time.perf_counter(), (), held, reason))
            return told
        self._requests.setdefault(answer.sequence.request_id, {})[answer.sequence.index] = answer
        self._steps.add(answer)
        return told

    def _forget(self, output: StepOutput) -> None:
        answers = self._requests[output.request_id]
        del answers[output.index]
        if not answers:
            del self._requests[output.request_id]
