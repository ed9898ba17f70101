"""Whether a job may join the line, asked while nothing is written that would have to be taken back."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from accounts.models import Plan
from chatapp.common.errors import ChatappError, MessageTooLong, NoWorker, Overloaded
from chatapp.queue.transport import get_transport
from inference.errors import TransportUnavailable
from inference.line.admission import Admission, Verdict, fits
from inference.line.forecast import Forecast, expected_output
from inference.messages import ANSWER, Job, Kind, WorkerReport

from .positions import line_watch

BYTES_A_TOKEN = 16  # no text's tokens are longer on average: what is too long by this measure is so for sure
RETRY_SECONDS = 15
MINUTE = 60


def find_refusal(job: Job, plan: Plan, workers: list[WorkerReport]) -> ChatappError | None:
    """Why ``job`` may not join the line of ``workers``; None when it may.

    ``NoWorker``, ``MessageTooLong`` for what no worker has room for, or ``Overloaded`` when the expected wait is over
    the plan's longest.
    """
    if not workers:
        return NoWorker(retry_after=RETRY_SECONDS)
    if job.kind == ANSWER and not _has_room(job, workers):
        return MessageTooLong("This message is longer than the model can read. Shorten it and send it again.")
    try:
        line = [other for other in get_transport().line(expected_output(workers), also=job) if other.kind == job.kind]
    except TransportUnavailable:
        return NoWorker(retry_after=RETRY_SECONDS)
    verdict = _admission(job.kind).decide(job, plan.code, plan.patience, line, workers)
    return None if verdict.accepted else _overloaded(verdict)


def _has_room(job: Job, workers: list[WorkerReport]) -> bool:
    """The system's words and the newest turn; older ones are left out where there is no room, if they may be."""
    first = [message for message in job.messages[:1] if message.role == "system"]
    kept = [*first, job.messages[-1]] if job.trim else job.messages
    size = sum(len(message.content.encode()) for message in kept)
    return fits(size // BYTES_A_TOKEN, workers)


def _overloaded(verdict: Verdict) -> Overloaded:
    wait = verdict.wait
    if wait is None:
        return Overloaded("All our GPUs are busy and the line is full.", retry_after=verdict.retry_after)
    words = f"{round(wait)} s" if wait < MINUTE else f"{round(wait / MINUTE)} min"
    message = f"All our GPUs are busy: a new message would wait about {words}, longer than your plan lets it."
    return Overloaded(message, retry_after=verdict.retry_after)


@cache
def _admission(kind: Kind) -> Admission:
    """One for each kind: who has to wait for the one is not kept from the other."""
    return Admission(settings.CHATAPP_MOST_WAITING, line_watch.forecast if kind == ANSWER else Forecast())
