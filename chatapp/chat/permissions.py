"""One function per noun. A stranger's id, a deleted one and one that never was all raise ``NotFound``."""

from __future__ import annotations

from uuid import UUID

from accounts.models import Membership
from chatapp.common.errors import BadRequest, NotFound

from .models import Conversation, Message


def get_conversation(
    membership: Membership, conversation_id: UUID, *, deleted: bool = False, lock: bool = False
) -> Conversation:
    """The person's own conversation in this tenant; ``deleted`` asks for one that was deleted, ``lock`` holds its row
    until the transaction ends.
    """
    rows = Conversation.objects.filter(tenant=membership.tenant, user=membership.user)
    rows = rows.select_for_update() if lock else rows
    conversation: Conversation | None = rows.filter(pk=conversation_id, deleted_at__isnull=not deleted).first()
    if conversation is None:
        raise NotFound
    return conversation


def get_message(membership: Membership, message_id: UUID) -> Message:
    """A message of one of the person's own conversations, with its conversation."""
    rows = Message.objects.select_related("conversation", "parent").filter(tenant=membership.tenant)
    message: Message | None = rows.filter(
        pk=message_id, conversation__user=membership.user, conversation__deleted_at=None
    ).first()
    if message is None:
        raise NotFound
    return message


def get_answer(membership: Membership, message_id: UUID) -> Message:
    message = get_message(membership, message_id)
    if message.role != Message.Role.ASSISTANT:
        raise BadRequest("That is a question, not an answer.")
    return message
