"""What a step reports of each answer that grew or ended in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

FinishReason = Literal["stop", "length", "error"]


class TokenLogprobs(NamedTuple):
    """Of one token: its log probability and its rank, 1 for the likeliest; the likeliest token ids with theirs."""

    chosen: float
    rank: int
    best: tuple[tuple[int, float], ...]


@dataclass(slots=True)  # not frozen: that doubles the time to make one, and one is made per token
class StepOutput:
    """What is new of one answer.

    ``token_ids`` are the tokens of this step; ``text`` may lag behind them (an unfinished character, a
    possible stop string) and is never taken back. ``output_tokens`` counts the whole answer, a resumed
    part included; of the prompt's ``prompt_tokens``, ``cached_tokens`` came from the prefix cache.
    ``finish_reason`` is ``None`` while the answer goes on; ``stop_reason`` is the stop string or the stop
    token that ended it, ``None`` at the model's own end. ``error`` says what failed, for the log,
    and ``error_code`` which of ``EngineError``'s kinds it is.
    ``index`` numbers the answers of a request with ``n`` above 1; each has one output with a
    ``finish_reason``, its last. ``logprobs`` has one entry per token where the request asks for them.
    Seconds are since ``add_request``: waiting for admission, then computing the prompt, then writing.
    """

    request_id: str
    token_ids: tuple[int, ...] = ()
    text: str = ""
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    error: str = ""
    error_code: str = ""
    queue_seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    stop_reason: str | int | None = None
    index: int = 0
    logprobs: tuple[TokenLogprobs, ...] = ()
