"""Offline generation with vLLM's interface: ``LLM(path).generate(prompts, params)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import EngineError
from .config import EngineConfig
from .llm_engine import LLMEngine
from .outputs import FinishReason, StepOutput, TokenLogprobs
from .sampling_params import SamplingParams

Prompt = str | list[int]


@dataclass(frozen=True, slots=True)
class Logprob:
    """``rank`` 1 is the likeliest token of the vocabulary."""

    logprob: float
    rank: int
    decoded_token: str


@dataclass(frozen=True, slots=True)
class CompletionOutput:
    """One answer. ``logprobs`` has, per token, the drawn one and the likeliest by their ids; ``None`` if not asked."""

    index: int
    text: str
    token_ids: list[int]
    finish_reason: FinishReason
    stop_reason: str | int | None
    logprobs: list[dict[int, Logprob]] | None
    cumulative_logprob: float | None


@dataclass(frozen=True, slots=True)
class RequestOutput:
    prompt: Prompt
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    cached_tokens: int


class LLM:
    """``options`` are the fields of ``EngineConfig``."""

    def __init__(self, model: str, **options: Any) -> None:
        self.engine = LLMEngine(EngineConfig(model=model, **options))

    def generate(
        self, prompts: Prompt | Sequence[Prompt], params: SamplingParams | Sequence[SamplingParams] | None = None
    ) -> list[RequestOutput]:
        """One output per prompt, in order; ``None`` samples as the model itself says.

        Raises what ``add_request`` does, and ``EngineError`` when a step failed; nothing is left running then.
        """
        each = _listed(prompts)
        own = self.engine.sampling_params() if params is None else params
        every = [own] * len(each) if isinstance(own, SamplingParams) else own
        encode = self.engine.tokenizer.encode
        ids = [encode(prompt) if isinstance(prompt, str) else list(prompt) for prompt in each]
        try:
            for number, (prompt_ids, chosen) in enumerate(zip(ids, every, strict=True)):
                self.engine.add_request(str(number), prompt_ids, chosen)
            steps = self._run()
        except BaseException:
            for number in range(len(each)):
                self.engine.abort(str(number))
            raise
        return [
            RequestOutput(prompt, prompt_ids, *self._collect(steps[str(number)]))
            for number, (prompt, prompt_ids) in enumerate(zip(each, ids, strict=True))
        ]

    def _run(self) -> dict[str, list[StepOutput]]:
        steps: dict[str, list[StepOutput]] = {}
        while self.engine.has_unfinished:
            for output in self.engine.step():
                if output.finish_reason == "error":
                    raise EngineError(output.error)
                steps.setdefault(output.request_id, []).append(output)
        return steps

    def _collect(self, steps: list[StepOutput]) -> tuple[list[CompletionOutput], int]:
        answers: dict[int, list[StepOutput]] = {}
        for step in steps:
            answers.setdefault(step.index, []).append(step)
        return [self._complete(answers[index]) for index in sorted(answers)], answers[0][-1].cached_tokens

    def _complete(self, steps: list[StepOutput]) -> CompletionOutput:
        last = steps[-1]
        assert last.finish_reason is not None
        token_ids = [token for step in steps for token in step.token_ids]
        logprobs = [entry for step in steps for entry in step.logprobs]
        return CompletionOutput(
            index=last.index,
            text="".join(step.text for step in steps),
            token_ids=token_ids,
            finish_reason=last.finish_reason,
            stop_reason=last.stop_reason,
            logprobs=[self._spell(*pair) for pair in zip(token_ids, logprobs, strict=True)] if logprobs else None,
            cumulative_logprob=sum(entry.chosen for entry in logprobs) if logprobs else None,
        )

    def _spell(self, token_id: int, entry: TokenLogprobs) -> dict[int, Logprob]:
        known = {best: (value, rank) for rank, (best, value) in enumerate(entry.best, 1)}
        known[token_id] = (entry.chosen, entry.rank)
        decode = self.engine.tokenizer.decode
        return {token: Logprob(value, rank, decode([token])) for token, (value, rank) in known.items()}


def _listed(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    if isinstance(prompts, str):
        return [prompts]
    token_ids = [prompt for prompt in prompts if isinstance(prompt, int)]
    return [token_ids] if token_ids else [prompt for prompt in prompts if not isinstance(prompt, int)]
