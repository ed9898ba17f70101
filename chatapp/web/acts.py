"""What a tab asks for that writes: done, and told in the frames of docs/protocol.md."""

from __future__ import annotations

import structlog
from django.db import DatabaseError, InterfaceError

from accounts.models import Membership
from accounts.quotas import read_usage
from chatapp.chat import asking
from chatapp.chat.asking import Accepted
from chatapp.chat.models import Message

from . import frames
from .payloads import conversation_json, new_turn_json, turn_json
from .streams import Frame

logger = structlog.get_logger(__name__)


class Unanswered(Exception):
    """What a request asked for is written, and its reply cannot be made: to ask again by its key gives it."""


def act(membership: Membership, request: frames.Act) -> tuple[Accepted, Frame, Frame]:
    """What was written, and the frames that tell of it and of the tokens left."""
    key = request.key
    match request:
        case frames.Send(text=text, conversation=conversation, parent=parent):
            model, where = request.model or "", {"conversation_id": conversation, "parent_id": parent}
            accepted = asking.send_message(membership=membership, key=key, text=text, model=model, **where)
        case frames.Regenerate(message=message):
            model = request.model or ""
            accepted = asking.regenerate_answer(membership=membership, key=key, message_id=message, model=model)
        case frames.Continue(message=message):
            accepted = asking.continue_answer(membership=membership, key=key, message_id=message)
    usage = accepted.usage.as_json() if accepted.usage else _usage_if_told(membership)
    return accepted, _accepted_json(membership, accepted), usage


def _usage_if_told(membership: Membership) -> Frame:
    """Empty where it cannot be told now: the end of the answer tells it again."""
    try:
        return usage_json(membership)
    except (DatabaseError, InterfaceError):
        logger.warning("socket.usage_not_told", exc_info=True)
        return {}


def _accepted_json(membership: Membership, accepted: Accepted) -> Frame:
    """Raises ``Unanswered``: never what would tell a client that its message was refused."""
    try:
        return _turn_json(membership, accepted)
    except Exception:
        logger.exception("socket.reply_failed", generation=str(accepted.generation.pk))
        raise Unanswered from None


def _turn_json(membership: Membership, accepted: Accepted) -> Frame:
    conversation = conversation_json(accepted.conversation, membership.tenant)
    if accepted.user_message and accepted.is_alone:
        turn = new_turn_json(accepted.user_message, accepted.answer, accepted.generation)
    else:
        messages = [message for message in (accepted.user_message, accepted.answer) if message]
        turn = turn_json(messages, membership.user_id)
    as_json = {item["role"]: item for item in turn}
    return {
        "conversation": {**conversation, "new": accepted.new_conversation},
        "user_message": as_json.get(Message.Role.USER),
        "answer": as_json[Message.Role.ASSISTANT],
        "generation": str(accepted.generation.pk),
    }


def usage_json(membership: Membership) -> Frame:
    return read_usage(membership.tenant).as_json()
