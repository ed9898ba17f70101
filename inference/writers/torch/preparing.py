"""What a job needs before its first step, made ready beside the steps of others.

A long prompt takes a tenth of a second to tokenize and a grammar's first compilation several: both by code that leaves
the interpreter to the engine's thread meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ...engine import SamplingParams
from ...engine.structured import Grammar
from ...messages import Claim


@dataclass(frozen=True, slots=True)
class Prepared:
    """dropped: of the job's turns, those left out of the prompt. shared: of its tokens, the operator's own. token_ids:
    of the answer so far, told here; before: how many tokens more of it were told by their text alone.
    """

    prompt: list[int]
    dropped: int
    shared: int
    params: SamplingParams
    grammars: list[Grammar]
    token_ids: tuple[int, ...]
    before: int


class Preparing:
    """``prepare`` is called with one claim after another, in the order they come; with those that want a grammar in a
    line of their own, so that nobody waits for the compilation of another's.
    """

    def __init__(self, prepare: Callable[[Claim], Prepared]) -> None:
        self._prepare = prepare
        self._prompts, self._grammars = ThreadPoolExecutor(1, "prompts"), ThreadPoolExecutor(1, "grammars")
        self._claims: dict[str, tuple[Claim, Future[Prepared]]] = {}

    def __len__(self) -> int:
        return len(self._claims)

    @property
    def prompt_tokens(self) -> int:
        """As far as they were estimated."""
        return sum(claim.job.prompt_tokens for claim, _ in self._claims.values())

    def begin(self, claim: Claim) -> None:
        line = self._grammars if claim.job.sampling.json_schema else self._prompts
        self._claims[claim.job.id] = claim, line.submit(self._prepare, claim)

    def take(self, seconds: float) -> Iterator[tuple[Claim, Future[Prepared]]]:
        """Those that are done, in the order they came; waits for one if there is none yet."""
        if self._claims:
            wait([future for _, future in self._claims.values()], seconds, FIRST_COMPLETED)
        for claim, future in list(self._claims.values()):
            if future.done():
                del self._claims[claim.job.id]
                yield claim, future

    def drop(self, generation: str) -> Claim | None:
        """The claim, if it was still here; what is being made for it is for nobody."""
        claim, future = self._claims.pop(generation, (None, None))
        if future is not None:
            future.cancel()
        return claim

    def close(self) -> None:
        for line in (self._prompts, self._grammars):
            line.shutdown(wait=False, cancel_futures=True)
