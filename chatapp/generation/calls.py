"""Answers to API calls: the browser's plan, quota and queue, without a conversation.

What was asked and answered is never written to the database. It lives in the transport, while the answer is
written and for the log's retention; the row keeps the account of it. The process that holds the caller's
connection also holds the job, and submits it again when the transport has lost it. Nobody else could: an answer
whose caller is gone has no reader.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction

from accounts.models import ApiKey, Plan
from chatapp.common.errors import Unavailable
from chatapp.common.transport import get_transport
from inference.errors import TransportUnavailable, UnknownGeneration
from inference.messages import ChatMessage, Ended, Job, Sampling

from . import prompts
from .admission import admit_job
from .models import Generation
from .outcomes import read_outcome
from .services import choose_model, finish_generation, record_outcome, reserve_answer

logger = structlog.get_logger(__name__)

PROMPT_VERSION = "api"  # the caller's own words and nothing else


def start_call(
    *, key: ApiKey, messages: tuple[ChatMessage, ...], sampling: Sampling, model: str, cache_key: str = ""
) -> Job:
    """Reserve tokens, write the generation and submit its job, which is returned.

    Calls with the same ``cache_key`` prefer the worker that has already read their common beginning. Raises what
    ``choose_model``, ``reserve_answer`` and ``admit_job`` raise, and ``Unavailable`` when the transport does not
    take the job; then nothing is reserved.
    """
    prompt_tokens = prompts.estimate_tokens(messages)
    with transaction.atomic():
        generation = _write(key, choose_model(model, ""), prompt_tokens, sampling.max_tokens)
        job = _job(generation, key.tenant.plan, messages, sampling, prompt_tokens, cache_key)
        admit_job(job, key.tenant.plan)
    _submit(job)
    return job


def settle_call(*, generation_id: str) -> None:
    """Charge an ended call. What cannot be written now, the sweep writes within seconds."""
    try:
        finish_generation(generation_id=UUID(generation_id))
    except (DatabaseError, TransportUnavailable, UnknownGeneration):
        logger.warning("call.settled_later", generation=generation_id)


def _write(key: ApiKey, model: str, prompt_tokens: int, max_tokens: int) -> Any:
    reserved, day = reserve_answer(tenant=key.tenant, prompt_tokens=prompt_tokens, max_tokens=max_tokens)
    return Generation.everyone.create(
        tenant=key.tenant,
        user=key.user,
        api_key=key,
        kind=Generation.Kind.CALL,
        model=model,
        prompt_version=PROMPT_VERSION,
        reserved_tokens=reserved,
        reserved_on=day,
        submissions=1,
    )


def _job(
    generation: Generation,
    plan: Plan,
    messages: tuple[ChatMessage, ...],
    sampling: Sampling,
    prompt_tokens: int,
    cache_key: str,
) -> Job:
    return Job(
        id=str(generation.pk),
        tenant=str(generation.tenant_id),
        model=generation.model,
        messages=messages,
        sampling=sampling,
        prompt_tokens=min(prompt_tokens, plan.max_context_tokens),
        max_prompt_tokens=plan.max_context_tokens,
        weight=float(plan.weight),
        conversation=f"{generation.tenant_id}:{cache_key}" if cache_key else "",
        submitted_at=generation.created_at.timestamp(),
        trim=False,
    )


def _submit(job: Job) -> None:
    try:
        get_transport().submit(job)
    except TransportUnavailable:
        refused = Ended(1, "failed", error_code="transport_unavailable")
        record_outcome(generation_id=UUID(job.id), outcome=read_outcome([refused]))
        raise Unavailable("The queue cannot be reached at the moment. Nothing was charged.", retry_after=5) from None
