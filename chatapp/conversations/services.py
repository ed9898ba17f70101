"""Acts on conversations that write several rows: sending, regenerating, continuing, stopping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import Membership
from chatapp.common.errors import AlreadyAnswering, BadRequest, MessageTooLong, NothingToContinue
from chatapp.common.transport import get_transport
from chatapp.generation.models import Generation
from chatapp.generation.services import choose_model, start_answer

from .models import Conversation, Message
from .permissions import get_answer, get_conversation, get_message
from .tasks import title_conversation

PROVISIONAL_TITLE = 60  # characters of the first message, until the model has found a title


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an act wrote, or had written when its key was first seen."""

    conversation: Conversation
    answer: Message
    generation: Generation
    user_message: Message | None = None
    new_conversation: bool = False


def send_message(
    *,
    membership: Membership,
    text: str,
    key: UUID,
    conversation_id: UUID | None = None,
    parent_id: UUID | None = None,
    model: str = "",
) -> Accepted:
    """A question, its pending answer and the generation that will write it, in one transaction.

    Idempotent by ``key``. Without ``conversation_id`` a conversation begins; without ``parent_id`` the
    question goes below the shown branch. Raises ``MessageTooLong``, ``AlreadyAnswering``, ``NotFound``
    and what ``start_answer`` raises; then nothing was written.
    """
    text = _checked_text(text)

    def write() -> Accepted:
        conversation = _conversation_for(membership, conversation_id, text)
        parent = _parent(membership, conversation, parent_id)
        question = _write(conversation, Message.Role.USER, parent, text=text)
        answer = _write(conversation, Message.Role.ASSISTANT, question, state=Message.State.QUEUED)
        accepted = _start(membership, answer, key, model, question, conversation_id is None)
        if conversation_id is None:
            _title_on_commit(question)
        return accepted

    return _once(membership, key, write)


def regenerate_answer(*, membership: Membership, message_id: UUID, key: UUID, model: str = "") -> Accepted:
    """Another answer to the same question, beside the first. Idempotent by ``key``."""

    def write() -> Accepted:
        old = get_answer(membership, message_id)
        _refuse_while_live(old.conversation)
        answer = _write(old.conversation, Message.Role.ASSISTANT, old.parent, state=Message.State.QUEUED)
        return _start(membership, answer, key, model)

    return _once(membership, key, write)


def continue_answer(*, membership: Membership, message_id: UUID, key: UUID) -> Accepted:
    """Go on with an answer that was cut short, after its last character. Idempotent by ``key``.

    Not with one that has already been replied to: what was said below it would no longer fit.
    """

    def write() -> Accepted:
        answer = get_answer(membership, message_id)
        _refuse_while_live(answer.conversation)
        if not answer.can_continue:
            raise NothingToContinue
        if answer.children.exists():
            raise NothingToContinue("The conversation has gone on from this answer as it is.")
        answer.go_on()
        return _start(membership, answer, key, "")

    return _once(membership, key, write)


def stop_answer(*, membership: Membership, message_id: UUID) -> None:
    """Cancel whatever writes this answer; what was written is kept. Does nothing to an ended one."""
    answer = get_answer(membership, message_id)
    for generation in Generation.objects.unfinished().filter(message=answer):
        get_transport().cancel(str(generation.pk))


def _once(membership: Membership, key: UUID, write: Callable[[], Accepted]) -> Accepted:
    """Run ``write`` in a transaction unless ``key`` has been seen; then give what it gave before."""
    if earlier := _accepted_before(membership, key):
        return earlier
    try:
        with transaction.atomic():
            return write()
    except IntegrityError:
        # Two sockets sent the same key at once, and the other one was first.
        if earlier := _accepted_before(membership, key):
            return earlier
        raise


def _accepted_before(membership: Membership, key: UUID) -> Accepted | None:
    found = Generation.objects.filter(user=membership.user, idempotency_key=key)
    generation = found.select_related("message__conversation", "message__parent").first()
    if generation is None:
        return None
    answer: Message = generation.message
    return Accepted(answer.conversation, answer, generation, answer.parent)


def _conversation_for(membership: Membership, conversation_id: UUID | None, text: str) -> Conversation:
    if conversation_id is None:
        title = " ".join(text.split())[:PROVISIONAL_TITLE]
        return Conversation.objects.create(tenant=membership.tenant, user=membership.user, title=title)
    conversation = get_conversation(membership, conversation_id)
    _refuse_while_live(conversation)
    return conversation


def _parent(membership: Membership, conversation: Conversation, parent_id: UUID | None) -> Message | None:
    if parent_id is None:
        return conversation.leaf
    parent = get_message(membership, parent_id)
    if parent.conversation_id != conversation.pk or parent.role != Message.Role.ASSISTANT:
        raise BadRequest("A question goes below an answer of the same conversation.")
    return parent


def _refuse_while_live(conversation: Conversation) -> None:
    """One answer at a time in a conversation: the next question reads the whole of the last answer.

    Holds the conversation's row until the transaction ends, so that of two tabs one waits here.
    """
    Conversation.objects.select_for_update().get(pk=conversation.pk)
    if conversation.messages.filter(state__in=Message.LIVE).exists():
        raise AlreadyAnswering


def _write(conversation: Conversation, role: str, parent: Message | None, **fields: str) -> Message:
    tenant_id = conversation.tenant_id
    return Message.objects.create(tenant_id=tenant_id, conversation=conversation, role=role, parent=parent, **fields)


def _start(
    membership: Membership,
    answer: Message,
    key: UUID,
    model: str,
    question: Message | None = None,
    new: bool = False,
) -> Accepted:
    model = choose_model(model, membership.user.preferences.default_model)
    generation = start_answer(tenant=membership.tenant, user=membership.user, message=answer, key=key, model=model)
    answer.conversation.show(answer)
    return Accepted(answer.conversation, answer, generation, question, new)


def _title_on_commit(question: Message) -> None:
    """After the answer's own job, and robust: a broker that is down costs the title, not the answer."""
    ask = partial(title_conversation.delay, str(question.tenant_id), str(question.pk))
    transaction.on_commit(ask, robust=True)


def _checked_text(text: str) -> str:
    """The message without what PostgreSQL cannot store. Raises for an empty or over-long one."""
    text = text.replace("\x00", "").strip()
    if not text:
        raise BadRequest("Write something first.")
    most = settings.CHATAPP_MAX_MESSAGE_CHARACTERS
    if len(text) > most:
        raise MessageTooLong(f"A message can have {most:,} characters; this one has {len(text):,}.")
    return text
