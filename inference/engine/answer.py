"""One answer being written: its tokens, its text and its times, and whether a token ends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import EngineError
from .detokenizer import Detokenizer
from .outputs import FinishReason, StepOutput
from .sequence import Sequence


@dataclass(slots=True, eq=False)
class Answer:
    """A sequence and what only the engine keeps of it. Times are of ``time.perf_counter``, 0 while not yet."""

    sequence: Sequence
    detokenizer: Detokenizer
    arrived: float
    admitted: float = 0.0
    first_token: float = 0.0
    stop_reason: str | int | None = None
    error: str = ""
    error_code: str = ""

    def append(self, token_id: int) -> tuple[str, FinishReason | None]:
        """Add a token: the text that is final with it, and why the answer ends here if it does."""
        text, reason = self._add(token_id)
        return text if reason is None else text + self.detokenizer.finish(), reason

    def resume(self, token_ids: Iterable[int]) -> tuple[str, FinishReason | None]:
        """Add tokens whose text has been told, and tell it again. They may be more than fit here: then that is the end,
        after them all.
        """
        told, reason = [], None
        for token_id in token_ids:
            text, reason = self._add(token_id)
            told.append(text)
            if reason not in (None, "length"):
                break
        return "".join(told), reason

    def _add(self, token_id: int) -> tuple[str, FinishReason | None]:
        """As ``append``, without what is held back until the end."""
        seq, detokenizer = self.sequence, self.detokenizer
        seq.token_ids.append(token_id)
        if seq.shaping is not None:
            seq.shaping.advance(token_id)
        if token_id in seq.end_ids:
            self.stop_reason = token_id if token_id in seq.params.stop_token_ids else None
            return "", "stop"
        text = detokenizer.push(token_id)
        if detokenizer.matched is not None:
            self.stop_reason = detokenizer.matched
            return text, "stop"
        if seq.shaping is not None and (grammar := seq.shaping.grammar) and grammar.complete:
            self.error, self.error_code = grammar.error, EngineError.code if grammar.error else ""
            return text, "error" if grammar.error else "stop"
        return text, "length" if len(seq.token_ids) >= seq.max_length else None

    def output(self, now: float, token_ids: tuple[int, ...], text: str, reason: FinishReason | None) -> StepOutput:
        seq = self.sequence
        admitted = self.admitted or now
        first_token = self.first_token or now
        return StepOutput(
            request_id=seq.request_id,
            token_ids=token_ids,
            text=text,
            finish_reason=reason,
            prompt_tokens=seq.num_prompt,
            cached_tokens=max(0, seq.num_cached),
            output_tokens=len(seq.token_ids) - seq.num_prompt,
            error=self.error,
            error_code=self.error_code,
            queue_seconds=admitted - self.arrived,
            prefill_seconds=first_token - admitted,
            decode_seconds=now - first_token,
            stop_reason=self.stop_reason,
            index=seq.index,
            logprobs=(seq.logprobs,) if token_ids and seq.logprobs is not None else (),
        )
