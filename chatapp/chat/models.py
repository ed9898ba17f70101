"""Conversation, Message (a tree, whose shown branch ends at the leaf) and Generation (a run that wrote an answer)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db import connection, connections, models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from accounts.models import Tenant, User
from accounts.scoping import TenantManager, TenantModel
from chatapp.common.ids import uuid7
from chatapp.common.text import one_line

from .prompts import Turn

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

    def deleted_before(self, at: datetime) -> ConversationQuerySet:
        """Those that were deleted by then, those deleted first first."""
        return self.filter(deleted_at__lte=at).order_by("deleted_at")

    def matching(self, words: str) -> ConversationQuerySet:
        """Those whose title or any message contains ``words``, in any case.

        PostgreSQL compares in capitals, which the indexes of ``search.py`` hold. SQLite knows the case of ASCII letters
        only; its regular expressions are Python's.
        """
        sqlite = connections[self.db].vendor == "sqlite"
        lookup, wanted = ("iregex", re.escape(words)) if sqlite else ("icontains", words)
        told = Message.objects.filter(conversation__in=self.order_by().values("pk"), **{f"text__{lookup}": wanted})
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


class GenerationQuerySet(models.QuerySet["Generation"]):
    def unfinished(self) -> GenerationQuerySet:
        return self.filter(finished_at=None)


class Generation(TenantModel):  # type: ignore[django-manager-missing]  # as above
    """How one answer (or title) was made. Durations are in milliseconds, counts in tokens.

    An answer to an API call has no message: what was asked and answered stays out of the database.
    ``finished_at`` is set once, by whoever wins the update; the same transaction writes the answer
    and settles its tokens.
    """

    class Kind(models.TextChoices):
        ANSWER = "answer", "Answer"
        TITLE = "title", "Title"
        CALL = "call", "API call"

    ANSWERS: ClassVar[tuple[str, ...]] = (Kind.ANSWER, Kind.CALL)  # what a plan limits and a tenant pays for

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped"
        INTERRUPTED = "interrupted", "Interrupted"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    message = models.ForeignKey(Message, null=True, blank=True, on_delete=models.CASCADE, related_name="generations")
    api_key = models.ForeignKey("accounts.ApiKey", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.ANSWER)
    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED)
    idempotency_key = models.UUIDField(default=uuid7)
    submissions = models.PositiveSmallIntegerField(default=0)

    # How it was asked for
    model = models.CharField(max_length=200, blank=True)
    prompt_version = models.CharField(max_length=20)
    sampling = models.JSONField(default=dict, help_text="As drawn from: the request over the model's defaults.")
    seed = models.BigIntegerField(null=True, blank=True)
    resumed_characters = models.PositiveIntegerField(default=0, help_text="Of the answer, written before this run.")

    # How it was made
    worker = models.CharField(max_length=100, blank=True)
    model_revision = models.CharField(max_length=80, blank=True)
    finish_reason = models.CharField(max_length=12, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    prompt_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    dropped_messages = models.PositiveIntegerField(default=0, help_text="Oldest turns that did not fit the context.")
    queue_ms = models.PositiveIntegerField(null=True, blank=True)
    prefill_ms = models.PositiveIntegerField(null=True, blank=True)
    decode_ms = models.PositiveIntegerField(null=True, blank=True)

    # What it cost
    reserved_tokens = models.PositiveIntegerField(default=0)
    reserved_on = models.DateField(null=True, blank=True)
    pays_prompt = models.BooleanField(
        default=True, db_default=True, help_text="Of several answers to one call, the first does."
    )

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[Any] = TenantManager.from_queryset(GenerationQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(fields=("tenant", "user", "idempotency_key"), name="one_generation_per_key"),
            models.CheckConstraint(
                condition=Q(kind="call", message=None) | (~Q(kind="call") & Q(message__isnull=False)),
                name="generation_calls_have_no_message",
            ),
        )
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["created_at"], condition=Q(finished_at=None), name="unfinished_generations"),
            models.Index(
                fields=["tenant"], condition=Q(finished_at=None, kind__in=["answer", "call"]), name="running_answers"
            ),
            models.Index(fields=["finished_at"], condition=Q(kind="answer"), name="answers_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.model or 'a model'}"

    @property
    def written(self) -> Message:
        """The message that this run writes or names. Not for an API call, which has none."""
        assert self.message is not None
        return self.message


class KeptText(TenantModel):
    """What people had been shown of an answer whose log is gone, until its end is written. See ``keeping``."""

    generation = models.OneToOneField(Generation, primary_key=True, on_delete=models.CASCADE, related_name="+")
    text = models.TextField()
    thought = models.TextField(blank=True)
    output_tokens = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"of {self.pk}"  # without it


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
