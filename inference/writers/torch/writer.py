"""The torch engine of this process, as the worker needs it."""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property

import torch

from ...engine import LLMEngine, SamplingParams, StructuredOutputsParams
from ...engine.outputs import StepOutput
from ...errors import EngineError, InvalidSampling, OutOfMemory
from ...messages import Choice, Claim, Ended, EndReason, Job, Sampling, Started
from ..base import Written, seed_of
from ..text import Family, Splitter, opened_by
from .logprobs import Speller
from .preparing import Prepared, Preparing
from .prompt_tokens import fit_prompt, shared_tokens

logger = logging.getLogger(__name__)

WARM_UP = "Hello"
LINE_END = "\n"
SHORTEST_WAIT = 0.005  # seconds, for what is prepared while there is nothing else to do
PROMPT_END = 16  # tokens, among which a template may have begun a thought
SAME = (  # settings that jobs and the engine call alike
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "stop",
    "stop_token_ids",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logprobs",
)
UNUSUAL = ("min_tokens", "presence_penalty", "frequency_penalty", "repetition_penalty")  # recorded where set
PLAIN = SamplingParams()
FAILURES = {
    EngineError.code: "The model failed while writing this answer. What it wrote is kept.",
    OutOfMemory.code: "There was not enough memory to go on with this answer. What was written is kept.",
}


class TorchWriter:
    """See ``base.Writer``."""

    trouble = ""

    def __init__(self, engine: LLMEngine) -> None:
        self._engine = engine
        self._last: dict[str, StepOutput] = {}
        self._begun: list[Written] = []
        self._resumed: dict[str, tuple[int, int]] = {}  # of each answer, tokens resumed by id, and by text alone
        self._splitters: dict[str, Splitter] = {}
        self._speller = Speller(engine.tokenizer)
        self._preparing = Preparing(self._prepare)

    def warm_up(self) -> None:
        """Two tokens for nobody, so that no person waits for what the first step of each kind sets up."""
        self._engine.add_request(
            "warm-up", self._shortest_prompt(), self._engine.sampling_params(max_tokens=2, ignore_eos=True)
        )
        while self._engine.has_unfinished:
            self._engine.step()

    @property
    def revision(self) -> str:
        return self._engine.revision

    @property
    def context_length(self) -> int:
        return self._engine.context_length

    @property
    def free_slots(self) -> int:
        return max(0, self._engine.free_slots - len(self._preparing))

    @property
    def free_kv_tokens(self) -> int:
        return max(0, self._engine.free_kv_tokens - self._preparing.prompt_tokens)

    @property
    def busy(self) -> bool:
        return bool(self._begun or len(self._preparing)) or self._engine.has_unfinished

    def begin(self, claim: Claim) -> None:
        self._preparing.begin(claim)

    def advance(self, window: float) -> Sequence[Written]:
        idle = not (self._begun or self._engine.has_unfinished)
        refused = [self._enter(*ready) for ready in self._preparing.take(max(window, SHORTEST_WAIT) if idle else 0.0)]
        begun, self._begun = self._begun, []
        return [*filter(None, refused), *begun, *map(self._take, self._engine.step())]

    def stop(self, generation: str) -> Written | None:
        if (claim := self._preparing.drop(generation)) is not None:
            return Written(generation, ended=Ended(0, "cancelled", max(claim.tokens, len(claim.token_ids))))
        if generation not in self._resumed:
            return None
        self._engine.abort(generation)
        started = next((written.started for written in self._begun if written.generation == generation), None)
        self._begun = [written for written in self._begun if written.generation != generation]
        thought, text = self._splitters.pop(generation).finish()
        ended = self._ended(generation, self._last.get(generation), "cancelled")
        return Written(generation, started=started, text=text, thought=thought, ended=ended)

    def _prepare(self, claim: Claim) -> Prepared:
        """In a thread beside the engine's."""
        job, token_ids, before = self._resume(claim)
        prompt, dropped = fit_prompt(self._engine, job, self._opened)
        params = self._params(claim, len(prompt), before)
        shared = shared_tokens(self._engine, job, prompt)
        return Prepared(prompt, dropped, shared, params, self._engine.grammars(params), tuple(token_ids), before)

    def _enter(self, claim: Claim, future: Future[Prepared]) -> Written | None:
        """Let the engine have it; or say why not."""
        job = claim.job
        try:
            ready = future.result()
            told = self._engine.add_request(
                job.id,
                ready.prompt,
                ready.params,
                tenant=job.tenant,
                band=job.band,
                counter=claim.counter,
                shared_prefix_tokens=ready.shared,
                resume_token_ids=ready.token_ids,
                drawn_before=ready.before,
                grammars=ready.grammars,
            )
        except Exception as error:  # whatever a job brings about must not end the others
            return Written(job.id, refused=error)
        splitter = self._splitters[job.id] = self._splitter(claim)
        splitter.feed(told)
        self._resumed[job.id] = (len(ready.token_ids), ready.before)
        self._begun.append(Written(job.id, started=self._started(ready.params, len(ready.prompt), ready.dropped)))
        return None

    def counters(self) -> dict[str, float]:
        return self._engine.counters() | {"memory_bytes": _memory()}

    def close(self) -> None:
        """The process ends: the memory goes with it."""
        self._preparing.close()

    @cached_property
    def _opened(self) -> Family | None:
        """The thought that the model's template begins, if it does."""
        return opened_by(self._engine.tokenizer.decode(self._shortest_prompt()[-PROMPT_END:]))

    def _shortest_prompt(self) -> list[int]:
        return self._engine.render_chat([{"role": "user", "content": WARM_UP}], "")

    def _splitter(self, claim: Claim) -> Splitter:
        """An answer held to a schema has no thoughts: its first character is the schema's. Of one whose tokens are
        not known the thoughts were told apart before.
        """
        job, is_told = claim.job, claim.tokens > len(claim.token_ids)
        begun = job.resume_text or job.sampling.json_schema or (is_told and claim.text)
        return Splitter(self._opened, begun=bool(begun))

    def _resume(self, claim: Claim) -> tuple[Job, Sequence[int], int]:
        """The job, its tokens so far, and how many more there are of which only the text is known.

        That text is part of the prompt then; but what the next token depends on (``Sampling.remembers``) is told in
        tokens, and this engine's own for the text are as good as those of the engine that wrote it.
        """
        job, unknown = claim.job, claim.tokens - len(claim.token_ids)
        if unknown <= 0:
            return job, claim.token_ids, 0
        if job.sampling.remembers or self._engine.default_sampling.get("repetition_penalty", 1.0) != 1.0:
            token_ids = self._encode(claim.text)
            return job, token_ids, claim.tokens - len(token_ids)
        return replace(job, resume_text=job.resume_text + claim.text), (), claim.tokens

    def _encode(self, text: str) -> list[int]:
        """Tokens of ``text`` and nothing else. Some tokenizers put a space before what they take for a beginning, so
        it is encoded after a line's end, unless the two then share a token.
        """
        encode = self._engine.encode_text
        before, both = encode(LINE_END), encode(LINE_END + text)
        return both[len(before) :] if both[: len(before)] == before else encode(text)

    def _params(self, claim: Claim, prompt_tokens: int, before: int) -> SamplingParams:
        """The job's choices over the model's own; the same seed whoever goes on with the job."""
        wanted = claim.job.sampling
        self._check_tokens(wanted)
        space = self._engine.context_length - prompt_tokens
        max_tokens = max(1, min(wanted.max_tokens - before, space))
        return self._engine.sampling_params(
            max_tokens=max_tokens,
            min_tokens=min(max_tokens, max(0, wanted.min_tokens - before)),
            seed=seed_of(claim.job.id) if wanted.seed is None else wanted.seed,
            logit_bias=dict(wanted.logit_bias),
            structured_outputs=StructuredOutputsParams(json=wanted.json_schema) if wanted.json_schema else None,
            **{name: getattr(wanted, name) for name in SAME},
        )

    def _check_tokens(self, wanted: Sampling) -> None:
        """Only who has the vocabulary can tell which numbers are tokens."""
        size = self._engine.runner.vocab_size
        named = {"stop_token_ids": wanted.stop_token_ids, "logit_bias": [token_id for token_id, _ in wanted.logit_bias]}
        for name, token_ids in named.items():
            if any(token_id >= size for token_id in token_ids):
                raise InvalidSampling(f"This model's tokens are numbered from 0 to {size - 1:,}.", name)

    def _started(self, params: SamplingParams, prompt_tokens: int, dropped: int) -> Started:
        return Started(
            0,
            worker="",
            model="",
            model_revision=self._engine.revision,
            prompt_tokens=prompt_tokens,
            dropped_messages=dropped,
            seed=params.seed or 0,
            sampling={
                "temperature": params.temperature,
                "top_p": params.top_p,
                "top_k": params.top_k,
                "min_p": params.min_p,
                "max_tokens": params.max_tokens,
            }
            | {name: value for name in UNUSUAL if (value := getattr(params, name)) != getattr(PLAIN, name)},
        )

    def _take(self, output: StepOutput) -> Written:
        generation, ended = output.request_id, None
        if output.finish_reason == "error":
            logger.error("job %s failed: %s", generation, output.error)
            ended = self._ended(generation, output, "failed")
        elif output.finish_reason is not None:
            ended = self._ended(generation, output, output.finish_reason)
        else:
            self._last[generation] = output
        choices = self._choices(output) if output.logprobs else ()
        thought, text = self._split(generation, output)
        return Written(generation, None, text, output.token_ids, 0, choices, ended, thought=thought)

    def _split(self, generation: str, output: StepOutput) -> tuple[str, str]:
        """What is new of the thought, and of the answer."""
        thought, text = self._splitters[generation].feed(output.text)
        if output.finish_reason is None:
            return thought, text
        last_thought, last_text = self._splitters.pop(generation).finish()
        return thought + last_thought, text + last_text

    def _choices(self, output: StepOutput) -> tuple[Choice, ...]:
        """None for a token that ends the answer, and is no part of its text."""
        if output.finish_reason == "stop" and not isinstance(output.stop_reason, str):
            ends = self._engine.eos_token_ids | {output.stop_reason}
            if output.token_ids[-1] in ends:
                return ()
        pairs = zip(output.token_ids, output.logprobs, strict=True)
        return tuple(self._speller.choice(token_id, logprobs) for token_id, logprobs in pairs)

    def _ended(self, generation: str, output: StepOutput | None, reason: EndReason) -> Ended:
        """The end of an answer, which is forgotten. ``output``: its last, if it had any."""
        by_id, by_text = self._resumed.pop(generation)
        self._last.pop(generation, None)
        if output is None:
            return Ended(0, reason, by_id + by_text)
        return Ended(
            0,
            reason,
            output_tokens=output.output_tokens + by_text,
            cached_tokens=output.cached_tokens,
            error_code=output.error_code,
            error_message=FAILURES.get(output.error_code, ""),
            prefill_seconds=output.prefill_seconds,
            decode_seconds=output.decode_seconds,
        )


def _memory() -> int:
    """Bytes: in use on the device where there is one, else the most this process has had."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return int(total - free)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
