"""The end of deleted conversations: out of the database after the days in which they could come back."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from .erasing import erase_conversations
from .models import Conversation, ConversationQuerySet

logger = structlog.get_logger(__name__)

BATCH = 100  # conversations in a transaction


def purge_conversations(*, days: int) -> int:
    """Delete conversations that were deleted ``days`` ago or earlier, with their messages, generations and ratings.

    Call it in the scope of all tenants. Returns how many went.
    """
    due = Conversation.objects.deleted_before(timezone.now() - timedelta(days=days))
    purged = 0
    while batch := _purge_some(due):
        purged += batch
    if purged:
        logger.info("purge", conversations=purged)
    return purged


def _purge_some(due: ConversationQuerySet) -> int:
    """Holds the rows until all of them are gone, so that none is brought back with half of its messages."""
    with transaction.atomic():
        batch = list(due.select_for_update().values_list("pk", flat=True)[:BATCH])
        while erase_conversations(Conversation.objects.filter(pk__in=batch)):
            pass
    return len(batch)
