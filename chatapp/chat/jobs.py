"""The jobs of our generations: made when they are asked for, and again from the database when a transport forgot."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from accounts.models import Tenant, User
from chatapp.queue.jobs import make_job
from chatapp.queue.offers import suit
from chatapp.queue.transport import get_transport
from inference.errors import TransportUnavailable
from inference.messages import BATCH, ChatMessage, Job, Sampling

from . import prompts
from .models import Generation

TITLE_TOKENS = 16
THINKING_TOKENS = 1024  # for a model that thinks first


def rebuild_job(generation: Generation) -> Job:
    """The job of an answer or a title, from the database alone. An API call's is with the process of its caller."""
    message = generation.written
    if generation.kind == Generation.Kind.TITLE:
        return title_job(generation)
    return answer_job(
        generation, prompts.assemble_answer(message.turns(), instructions(message.conversation.user, generation.tenant))
    )


def answer_job(generation: Generation, chat: tuple[ChatMessage, ...]) -> Job:
    message, plan = generation.written, generation.tenant.plan
    return make_job(
        generation_id=generation.pk,
        tenant_id=generation.tenant_id,
        plan=plan,
        model=generation.model,
        messages=chat,
        sampling=suit(Sampling(max_tokens=plan.max_output_tokens), generation.model),
        submitted_at=generation.created_at,
        conversation=str(message.conversation_id),
        resume_text=message.text,
        operator_characters=prompts.operator_characters(chat),
    )


def title_job(generation: Generation) -> Job:
    chat = prompts.assemble_title(generation.written.text)
    return make_job(
        generation_id=generation.pk,
        tenant_id=generation.tenant_id,
        plan=generation.tenant.plan,
        model="",
        messages=chat,
        sampling=Sampling(max_tokens=_room(generation), temperature=0.0),
        submitted_at=generation.created_at,
        operator_characters=prompts.operator_characters(chat),
        band=BATCH,
    )


def _room(title: Generation) -> int:
    """Of a title's tokens: more where it is asked for again, the model having thought and come no further."""
    earlier = Generation.everyone.filter(message=title.message, kind=title.kind, created_at__lt=title.created_at)
    return THINKING_TOKENS if earlier.exclude(pk=title.pk).exists() else TITLE_TOKENS


def instructions(user: User, tenant: Tenant) -> prompts.Instructions:
    return prompts.Instructions(user.preferences.about, user.preferences.style, tenant.instructions)


def submit_on_commit(generation: Generation, job: Job) -> None:
    """Queue the job once its row, which says that it was submitted once, is sure to exist.

    What the transport cannot take now, the sweep submits; whatever keeps it, the row is written.
    """

    def submit() -> None:
        try:
            get_transport().submit(job)
        except TransportUnavailable:
            Generation.everyone.filter(pk=generation.pk).update(submissions=F("submissions") - 1)

    transaction.on_commit(submit, robust=True)
