"""The end of deleted conversations: out of the database after the days in which they could come back."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Tenant

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


def retire_conversations(*, days: int) -> int:
    """Delete the chats whose last message is older than their workspace keeps any. Returns how many.

    What a workspace has asked to be gone does not come back: it is as if it had been deleted ``days`` ago, so that the
    next purge takes it. Call it in the scope of all tenants.
    """
    now, retired = timezone.now(), 0
    for tenant in Tenant.objects.exclude(retention_days=None):
        old = Conversation.objects.filter(
            tenant=tenant, updated_at__lt=now - timedelta(days=tenant.retention_days or 0)
        )
        retired += old.filter(Q(deleted_at=None) | Q(deleted_at__gt=now - timedelta(days=days))).update(
            deleted_at=now - timedelta(days=days)
        )
    return retired


def _purge_some(due: ConversationQuerySet) -> int:
    """Holds the rows until all of them are gone, so that none is brought back with half of its messages."""
    with transaction.atomic():
        batch = list(due.select_for_update().values_list("pk", flat=True)[:BATCH])
        while erase_conversations(Conversation.objects.filter(pk__in=batch)):
            pass
    return len(batch)
