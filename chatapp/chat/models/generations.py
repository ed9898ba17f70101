"""Generation: a run that wrote an answer or a title; and what is kept of one whose log is gone."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.scoping import TenantManager, TenantModel
from chatapp.common.ids import uuid7

from .conversations import Message


class GenerationQuerySet(models.QuerySet["Generation"]):
    def unfinished(self) -> GenerationQuerySet:
        return self.filter(finished_at=None)


class Generation(TenantModel):  # type: ignore[django-manager-missing]  # the stubs do not see through ``objects: Any``
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

    day_counts: tuple[int, int] | None = None  # in memory: what its settlement has just left of the tenant's day

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
