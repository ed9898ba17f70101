"""Titles: asked of the model once a conversation begins, filed by whoever sees that one has been written."""

from __future__ import annotations

from functools import partial

from django.db import transaction

from chatapp.queue.hints import send_hint

from . import prompts
from .jobs import submit_on_commit, title_job
from .models import Conversation, Generation, Message

TITLE_WORDS = 10
TITLE_CHARACTERS = 80


def start_title(*, question: Message) -> Generation | None:
    """Ask for a title of the conversation that ``question`` begins; what was asked for it before where it was.

    None where a person has given it a name. Costs the tenant nothing.
    """
    if question.conversation.titled_by_hand:
        return None
    earlier: Generation | None
    earlier = Generation.objects.filter(message=question, kind=Generation.Kind.TITLE).first()
    if earlier is not None:
        return earlier
    generation = Generation(
        tenant=question.tenant,
        user=question.conversation.user,
        message=question,
        kind=Generation.Kind.TITLE,
        prompt_version=prompts.VERSION,
        submissions=1,
    )
    job = title_job(generation)
    with transaction.atomic():
        generation.save(force_insert=True)
        submit_on_commit(generation, job)
    return generation


def file_title(*, conversation: Conversation, written: str) -> None:
    """Name the conversation, and tell every page that shows it. A name given by hand stays, and so does the
    provisional one where what was ``written`` is no title.
    """
    title = clean_title(written)
    if title and conversation.rename(title, by_hand=False):
        name = str(conversation.pk)
        event = {"type": "conversation.titled", "conversation": name, "title": title}
        transaction.on_commit(partial(send_hint, f"conversation.{name}", event))


def clean_title(text: str) -> str:
    """The first line of what the model wrote, without quotes, markup or a full stop.

    Empty when that is no title but an answer: more than one sentence, or too many words.
    """
    line = next(iter(text.strip().splitlines()), "").strip(" \t\"'#*_`.")
    words = line.split()
    return "" if ". " in line or len(words) > TITLE_WORDS else " ".join(words)[:TITLE_CHARACTERS]
