"""Texts as vectors, for the web and for Celery: ``embed`` and ``aembed``.

Texts of any number are cut into jobs, which wait in the same line as answers for workers that embed
(``python -m inference.worker --embed``). Their tokens are set aside before and charged after, like an answer's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accounts.models import Tenant, User
from accounts.quotas import check_tokens
from chatapp.common.errors import MessageTooLong, ModelNotFound, NoEmbedder, Overloaded, Unavailable
from chatapp.common.text import well_formed
from chatapp.common.threads import in_thread
from inference.messages import EMBEDDING, INTERACTIVE, WorkerReport

from .available_models import RETRY_SECONDS, live_workers
from .embedding_jobs import LONGEST_WAIT, Batch, Group, Order

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

TIMEOUT_SECONDS = 60.0
LONGEST_TEXT = 200_000  # characters
JOB_TEXTS, JOB_CHARACTERS, JOBS_AT_ONCE = 64, 200_000, 4
FIRST_LOOK, LOOKS_APART, LAST_LOOK = 0.005, 1.5, 0.1  # seconds, and what each is times the one before
FULL_SECONDS = 1.0  # until a line that was too long in the midst of a call is looked at again


@dataclass(frozen=True, slots=True)
class Embedded:
    """``vectors`` are ``[n, dimensions]`` and of length 1. Those of two models, or revisions, cannot be compared.

    ``tokens`` were read, and charged.
    """

    vectors: NDArray[float32]
    model: str
    revision: str
    tokens: int


def embed(
    texts: Sequence[str],
    *,
    tenant: Tenant,
    user: User | None = None,
    model: str = "",
    trim: bool = True,
    band: int = INTERACTIVE,
    timeout: float = TIMEOUT_SECONDS,
) -> Embedded:
    """The vectors of ``texts``, in their order, at the cost of ``tenant``. Waits up to ``timeout`` seconds, ten minutes
    at most.

    ``model`` "" is the first by name of those that run. A text that is too long for it is read to where it ends, or
    refused without ``trim``. ``band`` ``BATCH`` goes after everybody who waits.

    Not within a transaction. Raises ``NoEmbedder``, ``ModelNotFound``, ``MessageTooLong``, ``QuotaExceeded``,
    ``Overloaded`` before anything is done, and ``Unavailable`` when it took too long or was lost; what was embedded
    until then is charged.
    """
    call = Call(texts, Order(tenant, user, model, trim, band), timeout)
    try:
        for pause in call.steps():
            time.sleep(pause)
        return call.result()
    finally:
        call.leave()


async def aembed(
    texts: Sequence[str],
    *,
    tenant: Tenant,
    user: User | None = None,
    model: str = "",
    trim: bool = True,
    band: int = INTERACTIVE,
    timeout: float = TIMEOUT_SECONDS,  # noqa: ASYNC109 -- what was begun has to be taken back
) -> Embedded:
    """See ``embed``. A caller that is cancelled takes its jobs along."""
    call = await in_thread(Call)(texts, Order(tenant, user, model, trim, band), timeout)
    steps = call.steps()
    try:
        while True:
            pause = await in_thread(next)(steps, None)  # type: ignore[arg-type]
            if pause is None:
                return call.result()
            await asyncio.sleep(pause)
    finally:
        if call.is_open:
            await asyncio.shield(in_thread(call.leave)())


class Call:
    """One call's texts, in groups of jobs of which one is under way at a time. Raises as ``embed``."""

    def __init__(self, texts: Sequence[str], order: Order, timeout: float) -> None:
        if isinstance(texts, str):
            raise TypeError("texts is a list of them")
        self._timeout = min(timeout, LONGEST_WAIT)
        self._until = time.monotonic() + self._timeout
        worker = choose_embedder(order.model)
        self._order, self._dimensions = order.of(worker), int(worker.counters.get("dimensions", 0))
        texts = [_checked(text, place, len(texts)) for place, text in enumerate(texts)]
        self._batches = [Batch(self._order, part) for part in cut(texts)]
        if len(self._batches) > JOBS_AT_ONCE:  # what is set aside at once is checked then
            check_tokens(order.tenant, sum(batch.estimate for batch in self._batches))
        self._under_way: Group | None = None

    @property
    def is_open(self) -> bool:
        return self._under_way is not None

    def steps(self) -> Iterator[float]:
        """Does all of it, and says for how many seconds to wait before it goes on.

        Logs are looked at rather than followed: whoever waits here may have no event loop, and one that is made for a
        call would need a connection of its own.
        """
        for start in range(0, len(self._batches), JOBS_AT_ONCE):
            group = Group(self._order, self._batches[start : start + JOBS_AT_ONCE])
            while not self._start(group, is_first=start == 0):
                yield FULL_SECONDS
            pause = FIRST_LOOK
            while not group.look():
                if time.monotonic() > self._until:
                    raise Unavailable(
                        f"Embedding took longer than {self._timeout:g} s. Please try again.", retry_after=5
                    )
                yield pause
                pause = min(LAST_LOOK, pause * LOOKS_APART)
            group.settle()
            self._under_way = None

    def _start(self, group: Group, *, is_first: bool) -> bool:
        """False while the line is too long for more of what was begun."""
        try:
            group.start()
        except Overloaded:
            if is_first or time.monotonic() + FULL_SECONDS > self._until:
                raise
            return False
        self._under_way = group
        return True

    def leave(self) -> None:
        """Take back what is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            self._under_way = None

    def result(self) -> Embedded:
        import numpy as np

        parts = [batch.vectors() for batch in self._batches]
        vectors = np.concatenate(parts) if parts else np.zeros((0, self._dimensions), np.float32)
        revision = next((batch.revision for batch in self._batches), "")
        return Embedded(vectors, self._order.model, revision, sum(batch.tokens for batch in self._batches))


def choose_embedder(model: str) -> WorkerReport:
    """A live worker that embeds with ``model``, else with the first model by name. Raises as ``embed``."""
    workers = sorted(live_workers(EMBEDDING), key=lambda worker: worker.model)
    if not workers:
        raise NoEmbedder(retry_after=RETRY_SECONDS)
    chosen = next((worker for worker in workers if worker.model == model or not model), None)
    if chosen is None:
        raise ModelNotFound
    return chosen


def cut(texts: Sequence[str]) -> Iterator[list[str]]:
    """Parts of a job's size."""
    part: list[str] = []
    characters = 0
    for text in texts:
        if part and (len(part) == JOB_TEXTS or characters + len(text) > JOB_CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(text)
        characters += len(text)
    if part:
        yield part


def _checked(text: str, place: int, count: int) -> str:
    """Without halves of characters, which nothing can carry."""
    if len(text) > LONGEST_TEXT:
        raise MessageTooLong(f"Text {place + 1} of {count} is longer than {LONGEST_TEXT:,} characters.")
    return well_formed(text)
