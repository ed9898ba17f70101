"""Jobs: what a worker is given to write one answer. Every door makes them here, where a prompt is estimated once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from accounts.models import Plan
from inference.messages import INTERACTIVE, ChatMessage, Job, Sampling


def make_job(
    *,
    generation_id: UUID,
    tenant_id: UUID,
    plan: Plan,
    model: str,
    messages: tuple[ChatMessage, ...],
    sampling: Sampling,
    submitted_at: datetime,
    conversation: str = "",
    resume_text: str = "",
    operator_characters: int = 0,
    band: int = INTERACTIVE,
    trim: bool = True,
) -> Job:
    """The fields are those of ``inference.messages.Job``; the plan gives the limits and the weight."""
    asked = estimate_tokens((*messages, ChatMessage("assistant", resume_text)))
    return Job(
        id=str(generation_id),
        tenant=str(tenant_id),
        model=model,
        messages=messages,
        sampling=sampling,
        prompt_tokens=min(asked, plan.max_context_tokens),
        max_prompt_tokens=plan.max_context_tokens,
        weight=float(plan.weight),
        band=band,
        conversation=conversation,
        resume_text=resume_text,
        submitted_at=submitted_at.timestamp(),
        operator_characters=operator_characters,
        trim=trim,
    )


def longest_bill(job: Job) -> int:
    """The tokens that a job's answer sets aside: its prompt, by estimate, and the longest answer."""
    return job.prompt_tokens + job.sampling.max_tokens


def estimate_tokens(messages: Sequence[ChatMessage]) -> int:
    """Tokens the messages will take, erring high: the web has no tokenizer, the worker counts exactly.

    Byte-level BPE never makes more tokens than bytes and rarely fewer than a quarter as many; half the
    bytes covers code and languages whose letters take several bytes. Eight a message for its markers.
    """
    return sum(len(message.content.encode()) // 2 + 8 for message in messages)
