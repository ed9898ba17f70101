"""Acts on conversations that write several rows: sending, regenerating, continuing, stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, transaction

from accounts.models import Membership
from accounts.quotas import Usage
from chatapp.chat.answering import start_answer
from chatapp.chat.models import Generation
from chatapp.common.errors import (
    AlreadyAnswering,
    BadRequest,
    ChatappError,
    MessageTooLong,
    NothingToContinue,
    Unavailable,
)
from chatapp.common.text import one_line, storable
from chatapp.queue.transport import get_transport
from inference.errors import TransportUnavailable

from .models import Conversation, Message, as_turns
from .permissions import get_answer, get_conversation, get_message
from .tasks import title_conversation

PROVISIONAL_TITLE = 60  # characters of the first message, until the model has found a title


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an act wrote, or had written when its key was first seen. ``is_alone``: no other question stands beside the
    new one; ``usage`` is the tenant's with this answer, where the act has read it.
    """

    conversation: Conversation
    answer: Message
    generation: Generation
    user_message: Message | None = None
    new_conversation: bool = False
    is_alone: bool = False
    usage: Usage | None = None


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
        before = conversation.branch(_parent_id(membership, conversation, parent_id))
        question = _message(conversation, Message.Role.USER, before[-1] if before else None, text=text)
        answer = _message(conversation, Message.Role.ASSISTANT, question, state=Message.State.QUEUED)
        is_alone = question.parent_id == conversation.leaf_id  # below the leaf there is nothing yet
        Message.objects.bulk_create([question, answer])
        generation, usage = _start(membership, answer, key, model, [*before, question])
        if conversation_id is None:
            _title_on_commit(question)
        return Accepted(conversation, answer, generation, question, conversation_id is None, is_alone, usage)

    return _once(membership, key, write)


def regenerate_answer(*, membership: Membership, message_id: UUID, key: UUID, model: str = "") -> Accepted:
    """Another answer to the same question, beside the first. Idempotent by ``key``."""

    def write() -> Accepted:
        old = get_answer(membership, message_id)
        before = _lock_resting(membership, old.conversation_id).branch(old.parent_id)
        answer = _message(old.conversation, Message.Role.ASSISTANT, old.parent, state=Message.State.QUEUED)
        answer.save(force_insert=True)
        generation, usage = _start(membership, answer, key, model, before)
        return Accepted(old.conversation, answer, generation, usage=usage)

    return _once(membership, key, write)


def continue_answer(*, membership: Membership, message_id: UUID, key: UUID) -> Accepted:
    """Go on with an answer that was cut short, after its last character. Idempotent by ``key``.

    Not with one that has already been replied to: what was said below it would no longer fit.
    """

    def write() -> Accepted:
        answer = get_answer(membership, message_id)
        before = _lock_resting(membership, answer.conversation_id).branch(answer.parent_id)
        if not answer.can_continue:
            raise NothingToContinue
        if Message.objects.filter(parent=answer).exists():
            raise NothingToContinue("The conversation has gone on from this answer as it is.")
        answer.go_on()
        generation, usage = _start(membership, answer, key, "", before)
        return Accepted(answer.conversation, answer, generation, usage=usage)

    return _once(membership, key, write)


def stop_answer(*, membership: Membership, message_id: UUID) -> None:
    """Cancel whatever writes this answer; what was written is kept. Does nothing to an ended one.

    Raises ``Unavailable`` when the transport cannot be told.
    """
    answer = get_answer(membership, message_id)
    try:
        for generation in Generation.objects.unfinished().filter(message=answer):
            get_transport().cancel(str(generation.pk))
    except TransportUnavailable:
        raise Unavailable("The queue cannot be reached at the moment. Press Stop again.", retry_after=5) from None


def _once(membership: Membership, key: UUID, write: Callable[[], Accepted]) -> Accepted:
    """Run ``write`` in a transaction; where ``key`` has been seen, give what it gave then.

    A key that has been seen fails, at the latest by its generation's, and only then is it looked for: hardly any has.
    Where the connection is lost, it may be after the commit.
    """
    try:
        with transaction.atomic():
            return write()
    except (IntegrityError, OperationalError, InterfaceError, ChatappError):
        if earlier := _accepted_before(membership, key):
            return earlier
        raise


def _accepted_before(membership: Membership, key: UUID) -> Accepted | None:
    found = Generation.objects.filter(user=membership.user, idempotency_key=key)
    generation = found.select_related("message__conversation", "message__parent").first()
    if generation is None:
        return None
    answer = generation.written
    return Accepted(answer.conversation, answer, generation, answer.parent)


def _conversation_for(membership: Membership, conversation_id: UUID | None, text: str) -> Conversation:
    if conversation_id is not None:
        return _lock_resting(membership, conversation_id)
    title = one_line(text, PROVISIONAL_TITLE)
    new: Conversation = Conversation.objects.create(tenant=membership.tenant, user=membership.user, title=title)
    return new


def _lock_resting(membership: Membership, conversation_id: UUID) -> Conversation:
    """A conversation in which nothing is being written.

    One answer at a time: the next question reads the whole of the last answer. Holds the conversation's row until
    the transaction ends, so that of two tabs one waits here.
    """
    conversation = get_conversation(membership, conversation_id, lock=True)
    if conversation.messages.filter(state__in=Message.LIVE).exists():
        raise AlreadyAnswering
    return conversation


def _parent_id(membership: Membership, conversation: Conversation, wanted: UUID | None) -> UUID | None:
    """Below which message a question goes: the leaf, or an answer of the same conversation."""
    if wanted is None or wanted == conversation.leaf_id:
        return conversation.leaf_id
    parent = get_message(membership, wanted)
    if parent.conversation_id != conversation.pk or parent.role != Message.Role.ASSISTANT:
        raise BadRequest("A question goes below an answer of the same conversation.")
    return parent.pk


def _message(conversation: Conversation, role: str, parent: Message | None, **fields: str) -> Message:
    """Not written yet."""
    return Message(tenant_id=conversation.tenant_id, conversation=conversation, role=role, parent=parent, **fields)


def _start(
    membership: Membership, answer: Message, key: UUID, model: str, before: Iterable[Message]
) -> tuple[Generation, Usage]:
    answer.conversation.show(answer)
    return start_answer(
        tenant=membership.tenant,
        user=membership.user,
        message=answer,
        turns=as_turns(before),
        key=key,
        model=model,
    )


def _title_on_commit(question: Message) -> None:
    """After the answer's own job, and robust: a broker that is down costs the title, not the answer."""
    ask = partial(title_conversation.delay, str(question.tenant_id), str(question.pk))
    transaction.on_commit(ask, robust=True)


def _checked_text(text: str) -> str:
    """The message without blank lines around it or what no keyboard writes. Raises for an empty or over-long one.

    The first line keeps its indentation: it may be code, or an item of a list.
    """
    text = storable(text).rstrip()
    indentation = len(text) - len(text.lstrip())
    text = text[text.rfind("\n", 0, indentation) + 1 :]
    if not text:
        raise BadRequest("Write something first.")
    most = settings.CHATAPP_MAX_MESSAGE_CHARACTERS
    if len(text) > most:
        raise MessageTooLong(f"A message can have {most:,} characters; this one has {len(text):,}.")
    return text
