"""The jobs of a call that embeds: tokens set aside, submitted, looked at, settled; and those whose caller has gone."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from django.db import DatabaseError
from django.utils import timezone

from accounts.models import Reservation, Tenant, User, Work
from accounts.quotas import open_reservations, settle_reservation
from chatapp.common.errors import ChatappError, MessageTooLong, NoEmbedder, Unavailable
from chatapp.common.ids import uuid7
from inference.errors import PromptTooLong, TransportUnavailable, UnknownGeneration
from inference.messages import EMBEDDING, Ended, Event, Job, Sampling, Started, Vectors, WorkerReport

from .admission import find_refusal
from .available_models import RETRY_SECONDS, live_workers
from .transport import get_transport

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

logger = structlog.get_logger(__name__)

FORGOTTEN_SECONDS = 3.0  # a transport that lost its memory has been told again by its workers by then
LEFT = timedelta(seconds=10)  # younger than this, its caller may just be about to settle it
UNKNOWN = timedelta(minutes=2)  # older than this, nobody submits it again
LONGEST_WAIT = 600.0
GIVEN_UP = timedelta(seconds=LONGEST_WAIT + 60)


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants texts embedded, and how. ``longest`` tokens of each are read; 0 when nobody has told."""

    tenant: Tenant
    user: User | None
    model: str
    trim: bool
    band: int
    longest: int = 0

    def of(self, worker: WorkerReport) -> Order:
        return replace(self, model=worker.model, longest=worker.context_length)


@dataclass(slots=True)
class Batch:
    """One job's texts, and what its log says of them so far."""

    order: Order
    texts: list[str]
    id: UUID = field(default_factory=uuid7)
    seq: int = 0
    revision: str = ""
    ended: Ended | None = None
    tokens: int = 0
    unknown_since: float = 0.0
    _found: dict[int, NDArray[float32]] = field(default_factory=dict)

    @property
    def estimate(self) -> int:
        return sum(estimate_text(text, self.order) for text in self.texts)

    def job(self) -> Job:
        tokens, plan = self.estimate, self.order.tenant.plan
        return Job(
            id=str(self.id),
            tenant=str(self.order.tenant.pk),
            model=self.order.model,
            messages=(),
            sampling=Sampling(max_tokens=tokens),  # its length, as those who foretell waits know one
            prompt_tokens=tokens,
            weight=float(plan.weight),
            band=self.order.band,
            submitted_at=time.time(),
            trim=self.order.trim,
            kind=EMBEDDING,
            texts=tuple(self.texts),
        )

    def take(self, events: Sequence[Event]) -> None:
        import numpy as np

        for event in (event for event in events if event.seq > self.seq):
            self.seq = event.seq
            match event:
                case Started():
                    self.revision = event.model_revision
                case Vectors():
                    rows = np.frombuffer(base64.b64decode(event.data), "<f4").reshape(len(event.places), -1)
                    self._found |= dict(zip(event.places, rows.astype(np.float32), strict=True))
                    self.tokens += event.tokens
                case Ended():
                    self.ended = event

    def vectors(self) -> NDArray[float32]:
        import numpy as np

        return np.stack([self._found[place] for place in range(len(self.texts))])


class Group:
    """Jobs that are set aside for, submitted and looked at together."""

    def __init__(self, order: Order, batches: list[Batch]) -> None:
        self._order, self._batches = order, batches

    def start(self) -> None:
        """Raises what admission and ``accounts.quotas`` raise, and ``Unavailable`` when the line cannot be reached."""
        jobs = [batch.job() for batch in self._batches]
        workers = [worker for worker in live_workers(EMBEDDING) if worker.model == self._order.model]
        if not workers:
            raise NoEmbedder(retry_after=RETRY_SECONDS)
        if refusal := find_refusal(jobs[0], self._order.tenant.plan, workers):
            raise refusal
        open_reservations(
            tenant=self._order.tenant,
            user=self._order.user,
            work=Work.EMBEDDING,
            tokens={UUID(job.id): job.prompt_tokens for job in jobs},
        )
        try:
            for job in jobs:
                get_transport().submit(job)
        except TransportUnavailable:  # nobody will read those that were taken before, and nobody pays for them
            for job in jobs:
                settle_reservation(job=UUID(job.id), model="", tokens=0)
            raise Unavailable("The queue cannot be reached at the moment.", retry_after=5) from None

    def look(self) -> bool:
        """Read what is new. True once all have ended well; raises when one has failed."""
        for batch in self._batches:
            if batch.ended is None:
                self._look(batch)
            if batch.ended is not None and batch.ended.reason != "stop":
                raise _failure(batch.ended)
        return all(batch.ended for batch in self._batches)

    def settle(self) -> None:
        """Charge what has ended. What cannot be written now, the sweep writes within seconds."""
        for batch in self._batches:
            if batch.ended is not None:
                _settle_safely(batch.id, self._order.model, batch.tokens)

    def cancel(self) -> None:
        """Stop what has not ended, and charge what has; the sweep charges what is stopped for what was read of it."""
        try:
            for batch in self._batches:
                if batch.ended is None:
                    get_transport().cancel(str(batch.id))
        except TransportUnavailable:
            logger.warning("embedding.not_cancelled", tenant=str(self._order.tenant.pk))
        self.settle()

    def _look(self, batch: Batch) -> None:
        """A transport that cannot be reached is waited for; one that has forgotten the job is told of it again."""
        try:
            batch.take(get_transport().log(str(batch.id), batch.seq))
            batch.unknown_since = 0.0
        except TransportUnavailable:
            return
        except UnknownGeneration:
            now = time.monotonic()
            batch.unknown_since = batch.unknown_since or now
            if now - batch.unknown_since > FORGOTTEN_SECONDS and batch.seq == 0:
                batch.unknown_since = 0.0
                _submit_again(batch.job())


def estimate_text(text: str, order: Order) -> int:
    """Tokens, erring high, as ``jobs.estimate_tokens``; no more are read than the model's longest."""
    tokens = len(text.encode()) // 2 + 8
    return min(tokens, order.longest) if order.longest else tokens


def sweep_embeddings() -> dict[str, int]:
    """Settle what a caller that has gone left behind; call it in the scope of all tenants. Any number may run at once.

    Returns how many were settled, and how many nobody knows any more, which cost nothing.
    """
    counts = {"settled": 0, "forgotten": 0}
    rows = Reservation.objects.filter(created_at__lt=timezone.now() - LEFT).values_list("pk", "created_at")
    try:
        for job, created_at in rows.iterator():
            if found := _sweep(job, timezone.now() - created_at):
                counts[found] += 1
    except TransportUnavailable:
        logger.warning("sweep.transport_unavailable")
    return counts


def _sweep(job: UUID, age: timedelta) -> str:
    try:
        log = get_transport().log(str(job))
    except UnknownGeneration:
        return "forgotten" if age > UNKNOWN and settle_reservation(job=job, model="", tokens=0) else ""
    if log and isinstance(log[-1], Ended):
        started = next((event for event in log if isinstance(event, Started)), None)
        model = started.model if started else ""
        return "settled" if _settle(job, model, tokens_of(log)) else ""
    if age > GIVEN_UP:
        get_transport().cancel(str(job))
    return ""


def tokens_of(log: Sequence[Event]) -> int:
    """What was read of a job, whoever has ended it."""
    return sum(event.tokens for event in log if isinstance(event, Vectors))


def _settle(job: UUID, model: str, tokens: int) -> bool:
    done = settle_reservation(job=job, model=model, tokens=tokens)
    get_transport().release(str(job))
    return done


def _settle_safely(job: UUID, model: str, tokens: int) -> None:
    try:
        _settle(job, model, tokens)
    except (DatabaseError, TransportUnavailable):
        logger.warning("embedding.settled_later", job=str(job))


def _submit_again(job: Job) -> None:
    try:
        get_transport().submit(job)
    except TransportUnavailable:
        logger.warning("embedding.still_unreachable", job=job.id)


def _failure(ended: Ended) -> ChatappError:
    words: dict[str, Any] = {"retry_after": 5}
    match ended.error_code:
        case PromptTooLong.code:
            return MessageTooLong(ended.error_message)
        case NoEmbedder.code | "no_worker":
            return NoEmbedder(**words)
        case _:
            return Unavailable(ended.error_message or "The texts could not be embedded. Please try again.", **words)
