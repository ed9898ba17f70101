"""Conversation and Message: a tree, whose shown branch ends at the leaf."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db import connection, connections, models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone

from accounts.models import Tenant, User
from accounts.scoping import TenantManager, TenantModel
from chatapp.chat.prompts import Turn
from chatapp.common.ids import uuid7
from chatapp.common.text import one_line

BRANCH = """
    WITH RECURSIVE branch AS (
        SELECT m.*, 0 AS depth FROM chat_message m WHERE m.id = %s AND m.conversation_id = %s
        UNION ALL
        SELECT m.*, b.depth + 1 FROM chat_message m JOIN branch b ON m.id = b.parent_id
    )
    SELECT * FROM branch ORDER BY depth DESC
"""


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def of(self, user: User) -> ConversationQuerySet:
        """A person's conversations that are not deleted, newest first."""
        return self.filter(user=user, deleted_at=None).order_by("-updated_at", "-id")

    def after(self, at: datetime, pk: UUID | None) -> ConversationQuerySet:
        """Those that follow one of that time and id in ``of``; without an id those older than the time."""
        beside = Q(updated_at=at, pk__lt=pk) if pk else Q()
        return self.filter(Q(updated_at__lt=at) | beside, updated_at__lte=at)

    def between(self, newest: tuple[datetime, UUID], oldest: tuple[datetime, UUID]) -> ConversationQuerySet:
        """Those from one time and id of ``of`` to another, both with them."""
        (start, first), (end, last) = newest, oldest
        until = Q(updated_at__lt=start) | Q(updated_at=start, pk__lte=first)
        since = Q(updated_at__gt=end) | Q(updated_at=end, pk__gte=last)
        return self.filter(until, since, updated_at__range=(end, start))

    def deleted_before(self, at: datetime) -> ConversationQuerySet:
        """Those that were deleted by then, those deleted first first."""
        return self.filter(deleted_at__lte=at).order_by("deleted_at")

    def matching(self, words: str, *, read: bool = False) -> ConversationQuerySet:
        """Those whose title or any message contains ``words``, in any case; ``read`` looks into them without an index.

        PostgreSQL compares in capitals, which the indexes of ``search_indexes.py`` hold. SQLite knows the case of ASCII
        letters only; its regular expressions are Python's.
        """
        sqlite = connections[self.db].vendor == "sqlite"
        lookup, wanted = ("iregex", re.escape(words)) if sqlite else ("icontains", words)
        text = Coalesce("text", Value("", models.TextField())) if read else F("text")  # no index holds the first
        told = Message.objects.filter(conversation__in=self.order_by().values("pk"))
        told = told.alias(told=text).filter(**{f"told__{lookup}": wanted})
        return self.filter(Q(**{f"title__{lookup}": wanted}) | Q(pk__in=told.order_by().values("conversation")))


class Conversation(TenantModel):
    """One person's conversation in one tenant. Private to that person."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    title = models.CharField(max_length=200, blank=True)
    titled_by_hand = models.BooleanField(default=False)
    leaf = models.ForeignKey("Message", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[Any] = TenantManager.from_queryset(ConversationQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ("-updated_at",)
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["tenant", "user", "-updated_at"],
                condition=Q(deleted_at=None),
                name="conversation_list",
            ),
            models.Index(fields=["deleted_at"], condition=~Q(deleted_at=None), name="deleted_conversations"),
        ]

    def __str__(self) -> str:
        return self.title or "New chat"

    def get_absolute_url(self, tenant: Tenant | None = None) -> str:
        return reverse("chat:conversation", args=[(tenant or self.tenant).slug, self.pk])

    def rename(self, title: str, *, by_hand: bool) -> bool:
        """Set the title; a title made by hand is not overwritten by one that is not."""
        rows = Conversation.objects.filter(pk=self.pk)
        if not by_hand:
            rows = rows.filter(titled_by_hand=False)
        self.title = one_line(title, 200)
        return bool(rows.update(title=self.title, titled_by_hand=by_hand))

    def branch(self, leaf_id: UUID | None) -> list[Message]:
        """The messages from the root down to ``leaf_id``, in one query that reads no other branch."""
        to_database = models.UUIDField().get_db_prep_value
        ends = [to_database(leaf_id, connection), to_database(self.pk, connection)]
        return list(Message.everyone.raw(BRANCH, ends)) if leaf_id else []

    def set_deleted(self, at: datetime | None) -> None:
        self.deleted_at = at
        self.save(update_fields=["deleted_at"])

    def show(self, leaf: Message) -> None:
        """Make ``leaf`` the end of the shown branch, and this the newest conversation."""
        self.leaf, self.updated_at = leaf, timezone.now()
        self.save(update_fields=["leaf", "updated_at"])


class Message(TenantModel):  # type: ignore[django-manager-missing]  # the stubs do not see through ``objects: Any``
    """One turn. A user's message is ``done`` at once; an answer goes through the other states."""

    class Role(models.TextChoices):
        USER = "user", "User"
        ASSISTANT = "assistant", "Assistant"

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        STREAMING = "streaming", "Streaming"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped"
        INTERRUPTED = "interrupted", "Interrupted"
        FAILED = "failed", "Failed"

    LIVE: ClassVar[tuple[str, ...]] = (State.QUEUED, State.STREAMING)
    ENDED: ClassVar[tuple[str, ...]] = ("state", "text", "thought", "ended_at", "model")
    CAN_GO_ON: ClassVar[tuple[str, ...]] = (State.STOPPED, State.INTERRUPTED, State.FAILED)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="children")
    role = models.CharField(max_length=10, choices=Role.choices)
    state = models.CharField(max_length=12, choices=State.choices, default=State.DONE)
    text = models.TextField(blank=True)
    thought = models.TextField(blank=True, default="", help_text="What the model thought before it; no part of it.")
    model = models.CharField(max_length=200, blank=True, help_text="The model that wrote it.")
    can_continue = models.BooleanField(default=False)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ("created_at", "id")
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["conversation", "created_at"]),
        ]
        constraints = (
            models.CheckConstraint(condition=Q(role__in=["user", "assistant"]), name="message_role_known"),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "streaming", "done", "stopped", "interrupted", "failed"]),
                name="message_state_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} {self.pk}"  # without its text: the admin shows this to platform staff

    @property
    def live(self) -> bool:
        """An answer whose text is still in the token log, not here."""
        return self.state in self.LIVE

    def turns(self) -> list[Turn]:
        """The conversation before this message, oldest first. Two queries, however long it is."""
        return as_turns(self.conversation.branch(self.parent_id))

    def go_on(self) -> None:
        """Back to the queue, to be continued after its last character."""
        self.state, self.can_continue = self.State.QUEUED, False
        self.error_code = self.error_message = ""
        self.save(update_fields=["state", "can_continue", "error_code", "error_message"])

    def end(
        self,
        *,
        state: str,
        text: str,
        model: str,
        can_continue: bool,
        thought: str = "",
        error: tuple[str, str] = ("", ""),
    ) -> None:
        """The answer's last word: everything after this reads it from here."""
        self.state, self.text, self.thought, self.ended_at = state, text, thought, timezone.now()
        self.model, self.can_continue = model or self.model, can_continue
        self.error_code, self.error_message = error[0][:40], error[1][:300]
        self.save(update_fields=[*self.ENDED, "can_continue", "error_code", "error_message"])


def as_turns(messages: Iterable[Message]) -> list[Turn]:
    # A role that has not been to the database is a member of ``Message.Role``, which a worker cannot read.
    return [Turn(str(message.role), message.text) for message in messages]


def branch(messages: Iterable[Message], leaf_id: UUID | None) -> list[Message]:
    """The messages from the root down to ``leaf_id``."""
    by_id = {message.pk: message for message in messages}
    path: list[Message] = []
    while leaf_id is not None:
        path.append(by_id[leaf_id])
        leaf_id = by_id[leaf_id].parent_id
    return path[::-1]
