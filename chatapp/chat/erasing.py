"""Conversations, people and workspaces that go for good: bit by bit, however much there is of them.

Each bit is a transaction that may be the last one for now: whoever comes next goes on from there.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import QuerySet

from accounts.models import Erasure, LedgerEntry
from accounts.services import erase_person

from .answering import drop_answers
from .models import Conversation, Generation, Message

logger = structlog.get_logger(__name__)

BATCH = 500  # rows of a kind in a transaction: others wait for it where the database is SQLite
CONVERSATIONS = 100  # looked at together
MOST_SECONDS = 30.0  # in one run

Rows = QuerySet[Any]


def go_on_erasing(seconds: float = MOST_SECONDS) -> int:
    """Erase of what was asked for as much as there is time; call it in the scope of all tenants.

    Safe in any number of processes at once, and to be killed at any time. Returns how many rows went. Raises
    ``TransportUnavailable`` while something is being written of which nobody can tell what it costs.
    """
    until, erased = time.monotonic() + seconds, 0
    for pk in Erasure.objects.filter(ended_at=None).order_by("asked_at").values_list("pk", flat=True):
        while time.monotonic() < until and (some := _erase_some(pk)):
            erased += some
    return erased


def erase_conversations(rows: Rows) -> int:
    """Delete a batch of conversations, or of their messages, with all that belongs to them. Returns how many rows.

    The newest messages first: those below one go with it. Ledger and days of usage stay: they are what was paid.
    """
    chosen = list(rows.order_by("pk").values_list("pk", flat=True)[:CONVERSATIONS])
    messages = Message.objects.filter(conversation__in=chosen).order_by("-created_at", "-pk")
    batch = list(messages.values_list("pk", flat=True)[:BATCH])
    with transaction.atomic():
        drop_answers(written=Generation.objects.unfinished().filter(message__conversation__in=chosen))
        Message.objects.filter(pk__in=batch).delete()
        if len(batch) == BATCH:
            return BATCH
        Conversation.objects.filter(pk__in=chosen).delete()
    return len(batch) + len(chosen)


@transaction.atomic
def _erase_some(pk: UUID) -> int:
    """A batch of it; 0 when nothing is left, or somebody else is at it."""
    erasure = Erasure.objects.select_for_update(skip_locked=True, of=("self",)).filter(pk=pk, ended_at=None).first()
    if erasure is None:
        return 0
    erasure.shut_out()
    if not erasure.rows:
        _count(erasure)
    some = _erase_batch(erasure)
    if some:
        erasure.note(some)
    else:
        _end(erasure)
    return some


def _belongings(erasure: Erasure) -> tuple[Rows, Rows, Rows]:
    """Its conversations, its API calls, and what it paid."""
    whose: dict[str, Any] = {"user": erasure.person} if erasure.person else {"tenant": erasure.workspace}
    calls = Generation.objects.filter(kind=Generation.Kind.CALL, **whose)
    return Conversation.objects.filter(**whose), calls, LedgerEntry.objects.filter(**whose)


def _count(erasure: Erasure) -> None:
    conversations, calls, paid = _belongings(erasure)
    messages = Message.objects.filter(conversation__in=conversations.order_by().values("pk"))
    erasure.rows = sum(rows.count() for rows in (conversations, messages, calls, paid)) or 1
    erasure.save(update_fields=["rows"])


def _erase_batch(erasure: Erasure) -> int:
    """What a person paid stays, and so do their calls, of which there are no words; both without the person."""
    conversations, calls, paid = _belongings(erasure)
    drop_answers(written=calls.filter(finished_at=None))
    if some := erase_conversations(conversations):
        return some
    if erasure.person:
        return _first(calls).update(user=None, api_key=None) or _first(paid).update(user=None)
    return _delete(calls) or _delete(paid)


def _first(rows: Rows) -> Rows:
    batch = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
    return rows.model.everyone.filter(pk__in=batch)  # type: ignore[no-any-return]


def _delete(rows: Rows) -> int:
    batch = _first(rows)
    count = batch.count()
    batch.delete()
    return count


def _end(erasure: Erasure) -> None:
    if erasure.person:
        erase_person(person=erasure.person)
    elif erasure.workspace:
        erasure.workspace.delete()
    erasure.end()
    logger.info("erased", erasure=str(erasure.pk), rows=erasure.erased)
