"""Rows as the JSON of docs/protocol.md, the same in the page, over the socket and in REST."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, prefetch_related_objects

from accounts.models import Tenant
from chatapp.chat.models import Conversation, Generation, Message, branch
from feedback.models import Rating


@dataclass(frozen=True, slots=True)
class Runs:
    """The generations of an answer, oldest first; none of a question."""

    all: tuple[Generation, ...] = ()

    @property
    def generation(self) -> str | None:
        return str(self.all[-1].pk) if self.all else None

    @property
    def dropped_messages(self) -> int:
        return self.all[-1].dropped_messages if self.all else 0

    @property
    def sampling(self) -> dict[str, Any]:
        return self.all[-1].sampling if self.all else {}

    @property
    def output_tokens(self) -> int | None:
        """Of all that have ended; None while none has."""
        ended = [generation.output_tokens for generation in self.all if generation.finished_at]
        return sum(ended) if ended else None


def conversation_json(conversation: Conversation, tenant: Tenant) -> dict[str, Any]:
    return {
        "id": str(conversation.pk),
        "title": conversation.title,
        "url": conversation.get_absolute_url(tenant),
        "leaf": str(conversation.leaf_id) if conversation.leaf_id else None,
        "updated": conversation.updated_at.isoformat(),
    }


def thread_json(conversation: Conversation) -> list[dict[str, Any]]:
    """The shown branch. Three queries however long it is: messages, their generations, their ratings."""
    messages = list(conversation.messages.prefetch_related("generations").order_by("created_at", "id"))
    return messages_json(branch(messages, conversation.leaf_id), messages, conversation.user_id)


def turn_json(messages: Sequence[Message], reader: UUID) -> list[dict[str, Any]]:
    """Some messages of one conversation, whatever its length: three queries, none of which reads the rest's text."""
    prefetch_related_objects(list(messages), "generations")
    parents = {message.parent_id for message in messages}
    beside = Q(parent__in=parents - {None}) | (Q(parent=None) if None in parents else Q())
    tree = Message.objects.filter(beside, conversation=messages[0].conversation_id).only("parent_id", "role")
    return messages_json(messages, tree.order_by("created_at", "id"), reader)


def new_turn_json(question: Message, answer: Message, generation: Generation) -> list[dict[str, Any]]:
    """A turn that was just written at the end, without a query: nothing stands beside it, nobody has rated it yet."""
    siblings = _siblings([question, answer])
    return [
        _message_json(question, siblings, Runs(), None),
        _message_json(answer, siblings, Runs((generation,)), None),
    ]


def messages_json(shown: Sequence[Message], tree: Iterable[Message], reader: UUID) -> list[dict[str, Any]]:
    """``shown`` as JSON. ``tree`` is all of the conversation: it tells which siblings each has."""
    siblings, ratings = _siblings(tree), Rating.objects.of(reader, shown)
    rows = [_message_json(message, siblings, runs_of(message), ratings.get(message.pk)) for message in shown]
    for row in rows[:-1]:
        row["can_continue"] = False  # the conversation has gone on from it as it is
    return rows


def _siblings(tree: Iterable[Message]) -> dict[tuple[UUID | None, str], list[str]]:
    """Ids by parent and role, in the order of ``tree``."""
    siblings: dict[tuple[UUID | None, str], list[str]] = defaultdict(list)
    for message in tree:
        siblings[message.parent_id, message.role].append(str(message.pk))
    return siblings


def _message_json(
    message: Message,
    siblings: dict[tuple[UUID | None, str], list[str]],
    runs: Runs,
    rating: Rating | None,
) -> dict[str, Any]:
    return {
        "id": str(message.pk),
        "role": message.role,
        "state": message.state,
        "text": message.text,
        "thought": message.thought,
        "parent": str(message.parent_id) if message.parent_id else None,
        "created": message.created_at.isoformat(),
        "generation": runs.generation,
        "dropped_messages": runs.dropped_messages,
        "output_tokens": runs.output_tokens,
        "sampling": runs.sampling,
        "model": message.model,
        "siblings": siblings[message.parent_id, message.role],
        "rating": rating.as_json() if rating else None,
        "can_continue": message.can_continue,
        "error": {"code": message.error_code, "message": message.error_message} if message.error_code else None,
    }


def runs_of(message: Message) -> Runs:
    """One query, unless they were prefetched."""
    answers = (generation for generation in message.generations.all() if generation.kind == Generation.Kind.ANSWER)
    return Runs(tuple(sorted(answers, key=lambda generation: generation.created_at)))
