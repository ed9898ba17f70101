"""Driving an engine to its end, and reading what it put out."""

from __future__ import annotations

from typing import Any

from inference.engine import LLMEngine, SamplingParams
from inference.engine.outputs import StepOutput

Results = dict[str, list[StepOutput]]


def greedy(max_tokens: int, **choices: Any) -> SamplingParams:
    return SamplingParams(max_tokens=max_tokens, temperature=0.0, **choices)


def drain(engine: LLMEngine) -> Results:
    """Step until nothing is left; the outputs by request."""
    results: Results = {}
    while engine.has_unfinished:
        for output in engine.step():
            results.setdefault(output.request_id, []).append(output)
    return results


def tokens_of(outputs: list[StepOutput]) -> list[int]:
    return [token for output in outputs for token in output.token_ids]


def text_of(outputs: list[StepOutput]) -> str:
    return "".join(output.text for output in outputs)
