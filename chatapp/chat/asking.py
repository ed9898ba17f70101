"""Acts on conversations that write several rows: sending, regenerating, continuing, stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import Membership
from accounts.quotas import Usage
from chatapp.chat.answering import start_answer
from chatapp.chat.models import Generation
from chatapp.common.errors import AlreadyAnswering, BadRequest, ChatappError, MessageTooLong, NothingToContinue
from chatapp.queue.transport import get_transport

from .models import Conversation, Message, as_turns, branch
from .permissions import get_answer, get_conversation, get_message
from .tasks import title_conversation

PROVISIONAL_TITLE = 60  # characters of the first message, until the model has found a title


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an act wrote, or had written when its key was first seen. ``tree`` is all of the conversation and ``usage``
    the tenant's with this answer, where the act has read them.
    """

    conversation: Conversation
    answer: Message
    generation: Generation
    user_message: Message | None = None
    new_conversation: bool = False
    tree: Sequence[Message] = ()
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
        conversation, before = _conversation_for(membership, conversation_id, text)
        parent = _parent(membership, conversation, before, parent_id)
        question = _message(conversation, Message.Role.USER, parent, text=text)
        answer = _message(conversation, Message.Role.ASSISTANT, question, state=Message.State.QUEUED)
        Message.objects.bulk_create([question, answer])
        tree = [*before, question, answer]
        generation, usage = _start(membership, answer, key, model, branch(tree, question.pk))
        if conversation_id is None:
            _title_on_commit(question)
        return Accepted(conversation, answer, generation, question, conversation_id is None, tree, usage)

    return _once(membership, key, write)


def regenerate_answer(*, membership: Membership, message_id: UUID, key: UUID, model: str = "") -> Accepted:
    """Another answer to the same question, beside the first. Idempotent by ``key``."""

    def write() -> Accepted:
        old = get_answer(membership, message_id)
        tree = _read_resting(membership, old.conversation_id)[1]
        answer = _message(old.conversation, Message.Role.ASSISTANT, old.parent, state=Message.State.QUEUED)
        answer.save(force_insert=True)
        generation, usage = _start(membership, answer, key, model, branch(tree, old.parent_id))
        return Accepted(old.conversation, answer, generation, usage=usage)

    return _once(membership, key, write)


def continue_answer(*, membership: Membership, message_id: UUID, key: UUID) -> Accepted:
    """Go on with an answer that was cut short, after its last character. Idempotent by ``key``.

    Not with one that has already been replied to: what was said below it would no longer fit.
    """

    def write() -> Accepted:
        answer = get_answer(membership, message_id)
        tree = _read_resting(membership, answer.conversation_id)[1]
        if not answer.can_continue:
            raise NothingToContinue
        if any(message.parent_id == answer.pk for message in tree):
            raise NothingToContinue("The conversation has gone on from this answer as it is.")
        answer.go_on()
        generation, usage = _start(membership, answer, key, "", branch(tree, answer.parent_id))
        return Accepted(answer.conversation, answer, generation, usage=usage)

    return _once(membership, key, write)


def stop_answer(*, membership: Membership, message_id: UUID) -> None:
    """Cancel whatever writes this answer; what was written is kept. Does nothing to an ended one."""
    answer = get_answer(membership, message_id)
    for generation in Generation.objects.unfinished().filter(message=answer):
        get_transport().cancel(str(generation.pk))


def _once(membership: Membership, key: UUID, write: Callable[[], Accepted]) -> Accepted:
    """Run ``write`` in a transaction; where ``key`` has been seen, give what it gave then.

    A key that has been seen fails, at the latest by its generation's, and only then is it looked for: hardly any has.
    """
    try:
        with transaction.atomic():
            return write()
    except (IntegrityError, ChatappError):
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


def _conversation_for(
    membership: Membership, conversation_id: UUID | None, text: str
) -> tuple[Conversation, list[Message]]:
    """With its messages so far."""
    if conversation_id is None:
        title = " ".join(text.split())[:PROVISIONAL_TITLE]
        return Conversation.objects.create(tenant=membership.tenant, user=membership.user, title=title), []
    return _read_resting(membership, conversation_id)


def _read_resting(membership: Membership, conversation_id: UUID) -> tuple[Conversation, list[Message]]:
    """A conversation in which nothing is being written, and its messages.

    One answer at a time: the next question reads the whole of the last answer. Holds the conversation's row until
    the transaction ends, so that of two tabs one waits here.
    """
    conversation = get_conversation(membership, conversation_id, lock=True)
    messages = list(conversation.messages.all())
    if any(message.live for message in messages):
        raise AlreadyAnswering
    return conversation, messages


def _parent(
    membership: Membership, conversation: Conversation, messages: Sequence[Message], parent_id: UUID | None
) -> Message | None:
    by_id = {message.pk: message for message in messages}
    if parent_id is None:
        return by_id[conversation.leaf_id] if conversation.leaf_id else None
    parent = by_id.get(parent_id) or get_message(membership, parent_id)
    if parent.pk not in by_id or parent.role != Message.Role.ASSISTANT:
        raise BadRequest("A question goes below an answer of the same conversation.")
    return parent


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
    """The message without what PostgreSQL cannot store. Raises for an empty or over-long one."""
    text = text.replace("\x00", "").strip()
    if not text:
        raise BadRequest("Write something first.")
    most = settings.CHATAPP_MAX_MESSAGE_CHARACTERS
    if len(text) > most:
        raise MessageTooLong(f"A message can have {most:,} characters; this one has {len(text):,}.")
    return text
