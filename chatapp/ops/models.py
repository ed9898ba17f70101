"""What operators are told of work that comes by itself."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.utils import timezone


class TaskRun(models.Model):
    """How often the runs of a periodic task came to the same ``outcome``, and when the last one did.

    In the database, because Celery and whoever asks for the metrics are different processes.
    """

    class Outcome(models.TextChoices):
        DONE = "done", "Done"
        LATE = "late", "Done, and begun late"
        FAILED = "failed", "Failed"
        EXPIRED = "expired", "Dropped, being too late"
        SKIPPED = "skipped", "Left out, the one before being under way"

    GOOD: ClassVar[tuple[str, ...]] = (Outcome.DONE, Outcome.LATE)

    task = models.CharField(max_length=100)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    count = models.PositiveBigIntegerField(default=0)
    last_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("task", "outcome"), name="one_count_per_outcome"),)

    def __str__(self) -> str:
        return f"{self.task} {self.outcome}"

    @classmethod
    def note(cls, task: str, outcome: str, at: datetime | None = None) -> None:
        """Count one more; any number of processes may."""
        at = at or timezone.now()
        row, _ = cls.objects.get_or_create(task=task, outcome=outcome, defaults={"last_at": at})
        cls.objects.filter(pk=row.pk).update(count=models.F("count") + 1, last_at=at)
