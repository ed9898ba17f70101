"""Offline generation with vLLM's interface: ``LLM(path).generate(prompts, params)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inference.engine.config import EngineConfig
from inference.engine.llm_engine import LLMEngine
from inference.engine.outputs import FinishReason, StepOutput
from inference.engine.sampling_params import SamplingParams
from inference.errors import EngineError

Prompt = str | list[int]


@dataclass(frozen=True, slots=True)
class CompletionOutput:
    text: str
    token_ids: list[int]
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class RequestOutput:
    prompt: Prompt
    outputs: list[CompletionOutput]
    cached_tokens: int


class LLM:
    """``options`` are the fields of ``EngineConfig``."""

    def __init__(self, model: str, **options: Any) -> None:
        self.engine = LLMEngine(EngineConfig(model=model, **options))

    def generate(
        self, prompts: Sequence[Prompt], params: SamplingParams | Sequence[SamplingParams]
    ) -> list[RequestOutput]:
        """One output per prompt, in order. Raises ``EngineError`` when a step failed."""
        each = [params] * len(prompts) if isinstance(params, SamplingParams) else params
        for number, (prompt, own) in enumerate(zip(prompts, each, strict=True)):
            self.engine.add_request(str(number), prompt, own)
        steps: dict[str, list[StepOutput]] = {str(number): [] for number in range(len(prompts))}
        while self.engine.has_unfinished:
            for output in self.engine.step():
                steps[output.request_id].append(output)
        return [_collect(prompt, steps[str(number)]) for number, prompt in enumerate(prompts)]


def _collect(prompt: Prompt, steps: list[StepOutput]) -> RequestOutput:
    last = steps[-1]
    if last.finish_reason is None or last.finish_reason == "error":
        raise EngineError(last.error)
    completion = CompletionOutput(
        text="".join(step.text for step in steps),
        token_ids=[token for step in steps for token in step.token_ids],
        finish_reason=last.finish_reason,
    )
    return RequestOutput(prompt, [completion], last.cached_tokens)
