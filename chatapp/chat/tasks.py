"""Background work on conversations and their answers. None waits in its thread for a model."""

from __future__ import annotations

import contextlib
from uuid import UUID

from celery import shared_task
from django.conf import settings
from kombu.exceptions import OperationalError as BrokerAway

from accounts.scoping import all_tenants, tenant_scope
from chatapp.common.periodic import one_at_a_time
from chatapp.queue.embedding_jobs import sweep_embeddings
from chatapp.queue.transport import get_transport
from inference.errors import TransportUnavailable, UnknownGeneration

from .answering import finish_generation
from .erasing import go_on_erasing
from .models import Generation, Message
from .purging import purge_conversations, retire_conversations
from .sweeping import release_recorded, stop_unwanted, sweep_generations
from .titles import start_title

AGAIN_SECONDS = 3
# Until a title is looked for again, about a minute in all: while every GPU is busy a title waits for long.
LOOKS = (0.3, 0.3, 0.5, 0.5, 1, 1, 2, 2, 3, 5, 5, 10, 10, 10, 10)


@shared_task(name="chat.sweep")
@one_at_a_time
def sweep() -> None:
    """Again soon, rather than with the next beat, while there is something that the transport has just forgotten."""
    with all_tenants():
        counts = sweep_generations()
        sweep_embeddings()
        release_recorded()
    if counts.get("forgotten"):
        with contextlib.suppress(BrokerAway):  # then with the next beat
            sweep.apply_async(countdown=AGAIN_SECONDS, expires=AGAIN_SECONDS + 9)


@shared_task(name="chat.stop")
@one_at_a_time
def stop() -> None:
    """Stop what is written for whoever was shut out. Idempotent."""
    with all_tenants():
        stop_unwanted()


@shared_task(name="chat.erase")
@one_at_a_time
def erase() -> None:
    """Go on with erasing people and workspaces, from wherever the last run ended. Idempotent."""
    with all_tenants(), contextlib.suppress(TransportUnavailable):
        go_on_erasing()


@shared_task(name="chat.purge")
@one_at_a_time
def purge() -> None:
    """Delete for good what people deleted long ago. Idempotent."""
    with all_tenants(), contextlib.suppress(TransportUnavailable):
        retire_conversations(days=settings.CHATAPP_PURGE_DAYS)
        purge_conversations(days=settings.CHATAPP_PURGE_DAYS)


@shared_task(name="chat.title")
def title_conversation(tenant_id: str, message_id: str) -> None:
    """Let the model name the conversation that this message begins. Idempotent; a name given by hand stays.

    Nothing to do where the message has been deleted meanwhile.
    """
    with tenant_scope(UUID(tenant_id)):
        questions = Message.objects.select_related("conversation__user", "tenant__plan")
        question = questions.filter(pk=message_id).first()
        generation = start_title(question=question) if question else None
    if generation is not None:
        collect_title.apply_async((tenant_id, str(generation.pk)), countdown=LOOKS[0])


@shared_task(name="chat.collect_title")
def collect_title(tenant_id: str, generation_id: str, look: int = 0) -> None:
    """File a title that has been written, else look again later; after the last look it is no longer wanted.

    What is lost on the way, a task or the transport's memory, the sweep finds.
    """
    with tenant_scope(UUID(tenant_id)):
        waiting = _still_waiting(generation_id)
    if waiting and look + 1 < len(LOOKS):
        collect_title.apply_async((tenant_id, generation_id, look + 1), countdown=LOOKS[look + 1])
        return
    with contextlib.suppress(TransportUnavailable):
        for generation in waiting:
            get_transport().cancel(generation)  # one that runs ends within a step, and the sweep ends its row


def _still_waiting(generation_id: str) -> list[str]:
    """This title of the tenant in scope, or the second try at it, whose end is neither written down nor in its log."""
    tries = Generation.objects.unfinished().filter(message__generations=generation_id)
    for pk in list(tries.values_list("pk", flat=True)):
        with contextlib.suppress(TransportUnavailable, UnknownGeneration):
            finish_generation(generation_id=pk)
    return list(map(str, tries.values_list("pk", flat=True)))
