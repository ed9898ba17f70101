"""Driving an engine to its end, and reading what it put out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from inference.engine import LLMEngine, SamplingParams
from inference.engine.batch import Batch
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


def before_each_forward(engine: LLMEngine, act: Callable[[Batch], None]) -> None:
    """From now on ``act`` sees every batch first, and may raise."""
    forward = engine.runner.model.forward

    def acting(batch: Batch) -> Tensor:
        act(batch)
        return forward(batch)

    engine.runner.model.forward = acting  # type: ignore[method-assign]


def spoil(engine: LLMEngine, token_id: int) -> Callable[[], None]:
    """From now on the embedding of ``token_id`` is not a number, until what is returned is called."""
    model: Any = engine.runner.model
    embedding = model.embedding

    def spoilt(ids: Tensor) -> Tensor:
        rows: Tensor = embedding(ids)
        return rows.masked_fill((ids == token_id).unsqueeze(-1), float("nan"))

    model.embedding = spoilt

    def mend() -> None:
        model.embedding = embedding

    return mend
