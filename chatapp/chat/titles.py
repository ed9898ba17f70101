"""Titles: asked of the model once a conversation begins, filed by whoever sees that one has been written."""

from __future__ import annotations

import re
from functools import partial

from django.db import transaction

from chatapp.common.text import one_line
from chatapp.queue.available_models import live_workers
from chatapp.queue.model_status import is_small
from chatapp.queue.page_hints import send_hint

from . import prompts
from .jobs import submit_on_commit, title_job
from .models import Conversation, Generation, Message
from .outcomes import Outcome

TITLE_WORDS = 10
TITLE_CHARACTERS = 80
LONGEST_LINE = 1000
MARKUP = " \t#*_`~.\u3002"
QUOTES = ('""', "''", "“”", "„“", "„”", "‚‘", "‘’", "«»", "»«", "‹›", "「」", "『』", "《》", "〈〉", "【】", "””")
# What models say before a title, and what they call it.
ANNOUNCED = re.compile(
    r"^(?:(?:sure|certainly|of course|absolutely|okay|ok|great|yes)\b(?:[!,.]+\s*|\s+(?=here))"
    r"|here(?:'s|’s| is| are)\b[^:：]*[:：]"
    r"|(?:(?:the|a|short|chat|conversation|suggested|possible)\s+)*"
    r"(?:title|titel|titre|título|titolo|标题|タイトル)\s*[:：])\s*",
    re.IGNORECASE,
)
THOUGHT = re.compile(r"<(?:seed:)?think|\[THINK|<\|?channel|◁think", re.IGNORECASE)
THOUGHT_ENDS = re.compile(r"</(?:seed:)?think>|\[/THINK\]|<channel\|>|◁/think▷", re.IGNORECASE)


def start_title(*, question: Message) -> Generation | None:
    """Ask for a title of the conversation that ``question`` begins; what was asked for it before where it was.

    None where a person has given it a name, and where only small models answer: those answer the question instead of
    naming it, so its first words are the better title. Costs the tenant nothing.
    """
    if question.conversation.titled_by_hand or _only_small_ones():
        return None
    earlier: Generation | None
    earlier = Generation.objects.filter(message=question, kind=Generation.Kind.TITLE).first()
    if earlier is not None:
        return earlier
    return _ask(question)


def _only_small_ones() -> bool:
    workers = live_workers()
    return bool(workers) and all(map(is_small, workers))


def _ask(question: Message) -> Generation:
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


def file_title(*, generation: Generation, outcome: Outcome) -> None:
    """What came of a title: the conversation's name; or a second try with more room, for a model that has thought for
    as long as it could. A name given by hand stays, and so do the first words where no title came.
    """
    question, ended = generation.written, outcome.ended
    if ended and ended.reason == "length" and outcome.thought.strip() and not outcome.text.strip():
        if not question.conversation.titled_by_hand and not _was_asked_before(generation):
            _ask(question)
        return
    _name(question.conversation, outcome.text)


def _was_asked_before(generation: Generation) -> bool:
    asked = Generation.everyone.filter(message=generation.message, kind=Generation.Kind.TITLE)
    return asked.exclude(pk=generation.pk).exists()


def _name(conversation: Conversation, written: str) -> None:
    """Tells every page that shows it."""
    title = clean_title(written)
    if title and conversation.rename(title, by_hand=False):
        name = str(conversation.pk)
        event = {"type": "conversation.titled", "conversation": name, "title": title}
        transaction.on_commit(partial(send_hint, f"conversation.{name}", event))


def clean_title(text: str) -> str:
    """The title in what the model wrote, without quotes, markup, a full stop or the words that announce it.

    Empty when there is none but an answer: more than one sentence, or too many words.
    """
    lines = (_bare(one_line(line, LONGEST_LINE)) for line in THOUGHT_ENDS.split(text)[-1].splitlines())
    title = next((line for line in lines if line), "")
    is_title = ". " not in title and len(title.split()) <= TITLE_WORDS and not THOUGHT.match(title)
    return title[:TITLE_CHARACTERS].rstrip() if is_title else ""


def _bare(line: str) -> str:
    """A line's title; empty for one that only announces it."""
    before = None
    while line != before:
        before = line
        line = ANNOUNCED.sub("", line.strip(MARKUP), count=1)
        line = _unquoted(line.strip(MARKUP))
    return "" if line.endswith((":", "\uff1a")) else line


def _unquoted(line: str) -> str:
    """Without the quotes around all of it; without one alone, whose other was cut off."""
    for pair in QUOTES:
        inner = line[1:].removesuffix(pair[1])
        if line.startswith(pair[0]) and not set(pair) & set(inner):
            return inner
    return line
