"""What people have read of an answer is kept, when its log and its worker are both gone.

Every process that holds the text of a generation whose log nobody knows says so, any number of them in any order; the
longest stays. The sweep waits for them before it gives the generation up, and ends it with that text. Who is later
than that still makes the answer longer.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models.functions import Length

from inference.messages import Ended

from .answering import explain_start
from .models import Generation, KeptText, Message
from .outcomes import Outcome


def keep_text(*, generation_id: UUID, outcome: Outcome) -> None:
    """Keep what a reader was shown of an unfinished generation, unless something longer is kept already."""
    generation = Generation.everyone.filter(pk=generation_id, finished_at=None, kind=Generation.Kind.ANSWER).first()
    if generation is None or not outcome.text:
        return
    found = {"text": outcome.text, "thought": outcome.thought, "output_tokens": outcome.tokens}
    names = {"generation": generation, "tenant_id": generation.tenant_id}
    _, is_new = KeptText.everyone.get_or_create(**names, defaults=found)
    if not is_new:
        shorter = KeptText.everyone.annotate(length=Length("text")).filter(length__lt=len(outcome.text))
        shorter.filter(pk=generation_id).update(**found)
    if outcome.started:
        explain_start(generation_id=generation_id, started=outcome.started)


def drop_kept_texts() -> None:
    """Of what has ended: one statement a sweep, rather than one an answer, of which hardly any has such a text."""
    KeptText.objects.filter(generation__finished_at__isnull=False).delete()


def has_kept_text(generation: Generation) -> bool:
    return KeptText.objects.filter(pk=generation.pk).exists()


def kept_outcome(generation: Generation) -> Outcome:
    """The end of a generation that nobody knows: interrupted, with what is kept of it."""
    kept = KeptText.objects.filter(pk=generation.pk).first()
    if kept is None:
        return Outcome("", None, Ended(1, "interrupted"), 1)
    ended = Ended(1, "interrupted", kept.output_tokens)
    return Outcome(kept.text, None, ended, 1, kept.thought, kept.output_tokens)


def lengthen_answer(*, generation_id: UUID, outcome: Outcome) -> None:
    """Give an interrupted answer the words that somebody was shown beyond its end. They are not charged.

    Not once it has gone on, or been replied to.
    """
    with transaction.atomic():
        rows = Message.everyone.filter(generations=generation_id, state=Message.State.INTERRUPTED)
        message = rows.select_for_update(of=("self",)).first()
        if message is None or Message.everyone.filter(parent=message).exists():
            return
        newest = Generation.everyone.filter(message=message).order_by("-created_at", "-pk").first()
        if newest is None or newest.pk != generation_id:
            return
        text = message.text[: newest.resumed_characters] + outcome.text
        if len(text) > len(message.text):
            message.text = text
            message.save(update_fields=["text"])
