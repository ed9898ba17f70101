"""Background work on conversations: titles."""

from __future__ import annotations

import contextlib
import time
from uuid import UUID

from celery import shared_task

from accounts.scoping import tenant_scope
from chatapp.common.transport import get_transport, send_hint
from chatapp.generation.models import Generation
from chatapp.generation.outcomes import Outcome, read_outcome
from chatapp.generation.services import finish_generation, start_title
from inference.errors import TransportUnavailable, UnknownGeneration

from .models import Message

TITLE_SECONDS = 60  # while every GPU is busy a title waits; then the provisional one stays
POLL_SECONDS = 0.1
TITLE_WORDS = 10


@shared_task(name="conversations.title", soft_time_limit=TITLE_SECONDS + 30)
def title_conversation(tenant_id: str, message_id: str) -> None:
    """Let the model name the conversation that this message begins. Idempotent; a name given by hand stays."""
    with tenant_scope(UUID(tenant_id)):
        message = Message.objects.select_related("conversation__user", "tenant__plan").get(pk=message_id)
        if message.conversation.titled_by_hand:
            return
        title = clean_title(_write_title(message))
        if title and message.conversation.rename(title, by_hand=False):
            event = {
                "type": "conversation.titled",
                "conversation": str(message.conversation_id),
                "title": title,
            }
            send_hint(f"conversation.{message.conversation_id}", event)


def clean_title(text: str) -> str:
    """The first line of what the model wrote, without quotes, markup or a full stop.

    Empty when that is no title but an answer: more than one sentence, or too many words.
    """
    line = next(iter(text.strip().splitlines()), "").strip(" \t\"'#*_`.")
    words = line.split()
    return "" if ". " in line or len(words) > TITLE_WORDS else " ".join(words)[:80]


def _write_title(message: Message) -> str:
    earlier = Generation.objects.filter(message=message, kind=Generation.Kind.TITLE).first()
    generation = earlier or start_title(message=message)
    return _wait(generation).text


def _wait(generation: Generation) -> Outcome:
    """The outcome, or what there is of it when the time is over. What is left open then, the sweep ends."""
    deadline = time.monotonic() + TITLE_SECONDS
    while (outcome := _look(generation)).ended is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(TransportUnavailable, UnknownGeneration):
        if outcome.ended is None:
            get_transport().cancel(str(generation.pk))  # one that runs ends within a step
        finish_generation(generation_id=generation.pk)
    return outcome


def _look(generation: Generation) -> Outcome:
    """Nothing yet, too, from a transport that is away, or that has forgotten the job until the sweep tells it again."""
    try:
        return read_outcome(get_transport().log(str(generation.pk)))
    except (TransportUnavailable, UnknownGeneration):
        return read_outcome([])
