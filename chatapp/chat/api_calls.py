"""Answers to API calls: the browser's plan, quota and queue, without a conversation.

What was asked and answered is never written to the database. It lives in the transport, while the answer is
written and for the log's retention; the row keeps the account of it. The process that holds the caller's
connection also holds the job, and submits it again when the transport has lost it. Nobody else could: an answer
whose caller is gone has no reader.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction

from accounts.models import ApiKey
from accounts.quotas import check_rate, today
from chatapp.common.errors import Unavailable
from chatapp.queue.admission import find_refusal
from chatapp.queue.available_models import choose_model, live_workers
from chatapp.queue.jobs import longest_bill, make_job
from chatapp.queue.offers import suit
from chatapp.queue.transport import get_transport
from inference.errors import TransportUnavailable, UnknownGeneration
from inference.messages import ChatMessage, Ended, Job, Sampling

from .answering import finish_generation, record_outcome, reserve_answers
from .models import Generation
from .outcomes import read_outcome

logger = structlog.get_logger(__name__)

SEEDS = 1 << 63
RETRY_SECONDS, TAKE_BACK_SECONDS = 1.0, 300.0
PROMPT_VERSION = "api"  # the caller's own words and nothing else


def start_call(
    *,
    key: ApiKey,
    messages: tuple[ChatMessage, ...],
    sampling: Sampling,
    model: str,
    answers: int = 1,
    cache_key: str = "",
) -> tuple[Job, ...]:
    """Reserve tokens, write the generations and submit their jobs, one for each of the ``answers``.

    Several answers are several generations, each with its own log, lease and end; a stated seed is that of the first
    and one more for each after it, and the first pays for the prompt. Calls with the same ``cache_key`` prefer the
    worker that has already read their common beginning, and so do the answers to one call. Raises what
    ``choose_model``, ``accounts.quotas`` and admission raise, and ``Unavailable`` when the transport does not take
    the jobs; then nothing is reserved.
    """
    workers = live_workers()
    model = choose_model(model, "", workers, key.tenant.allowed_models)
    with transaction.atomic():
        check_rate(key.tenant)
        rows, jobs = _make(key, messages, suit(sampling, model), model, answers, cache_key)
        Generation.everyone.bulk_create(rows)
        reserve_answers(rows, find_refusal(jobs[0], key.tenant.plan, workers))
    _submit(jobs)
    return jobs


def settle_call(*, generation_id: str) -> None:
    """Charge an ended call. What cannot be written now, the sweep writes within seconds."""
    try:
        finish_generation(generation_id=UUID(generation_id))
    except (DatabaseError, TransportUnavailable, UnknownGeneration):
        logger.warning("call.settled_later", generation=generation_id)


def _seeded(sampling: Sampling, number: int) -> Sampling:
    return sampling if sampling.seed is None else replace(sampling, seed=(sampling.seed + number) % SEEDS)


def _make(
    key: ApiKey, messages: tuple[ChatMessage, ...], sampling: Sampling, model: str, answers: int, cache_key: str
) -> tuple[list[Generation], tuple[Job, ...]]:
    """The rows, not written yet, and their jobs."""
    rows = [_row(key, model) for _ in range(answers)]
    together = cache_key or (str(rows[0].pk) if answers > 1 else "")
    jobs = tuple(
        make_job(
            generation_id=row.pk,
            tenant_id=row.tenant_id,
            plan=key.tenant.plan,
            model=model,
            messages=messages,
            sampling=_seeded(sampling, number),
            submitted_at=row.created_at,
            conversation=f"{row.tenant_id}:{together}" if together else "",
            trim=False,
        )
        for number, row in enumerate(rows)
    )
    for row in rows:
        row.pays_prompt = row is rows[0]
        row.reserved_tokens = longest_bill(jobs[0]) if row.pays_prompt else sampling.max_tokens
    return rows, jobs


def _row(key: ApiKey, model: str) -> Generation:
    return Generation(
        tenant=key.tenant,
        user=key.user,
        api_key=key,
        kind=Generation.Kind.CALL,
        model=model,
        prompt_version=PROMPT_VERSION,
        reserved_on=today(),
        submissions=1,
    )


def _submit(jobs: tuple[Job, ...]) -> None:
    """All of them or none: of those that were taken before the transport was lost, nobody reads the answer."""
    try:
        for job in jobs:
            get_transport().submit(job)
    except TransportUnavailable:
        threading.Thread(target=_take_back, args=(jobs,), name="take-back", daemon=True).start()
        refused = read_outcome([Ended(1, "failed", error_code="transport_unavailable")])
        for job in jobs:
            record_outcome(generation_id=UUID(job.id), outcome=refused)
        raise Unavailable("The queue cannot be reached at the moment. Nothing was charged.", retry_after=5) from None


def _take_back(jobs: tuple[Job, ...]) -> None:
    """Stop those that were taken, the one included whose answer may have been lost, once the transport is back.

    Should this process end before, they are written to their end, unread and uncharged.
    """
    until = time.monotonic() + TAKE_BACK_SECONDS
    while time.monotonic() < until:
        try:
            for job in jobs:
                get_transport().cancel(job.id)
                get_transport().release(job.id)
            return
        except TransportUnavailable:
            time.sleep(RETRY_SECONDS)
    logger.warning("call.not_taken_back", generations=[job.id for job in jobs])
