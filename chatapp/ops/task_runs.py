"""Counts what becomes of periodic tasks: done, late, failed, dropped. Celery tells, whichever process runs them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import structlog
from celery import states
from celery.signals import task_postrun, task_prerun, task_revoked
from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from .models import TaskRun

logger = structlog.get_logger(__name__)

LATE_SHARE = 0.25  # of its interval: later than that, a run is late


def connect() -> None:
    task_prerun.connect(_note_lateness, dispatch_uid="task-runs")
    task_postrun.connect(_note_end, dispatch_uid="task-runs")
    task_revoked.connect(_note_expiry, dispatch_uid="task-runs")


def periodic_tasks() -> dict[str, dict[str, Any]]:
    """The beat's entries by the name of their task."""
    return {str(entry["task"]): entry for entry in settings.CELERY_BEAT_SCHEDULE.values()}


def _note_lateness(task: Any, **_: Any) -> None:
    """The time at which it should have begun is known by that of its expiry."""
    entry, expires = periodic_tasks().get(task.name), task.request.expires
    if entry is None or expires is None:
        return
    due = _time(expires).timestamp() - entry["options"]["expires"]
    task.request.is_late = datetime.now(UTC).timestamp() - due > LATE_SHARE * float(entry["schedule"])


def _note_end(task: Any, state: str, **_: Any) -> None:
    if task.name in periodic_tasks() and not task.request.is_eager:
        done = TaskRun.Outcome.LATE if getattr(task.request, "is_late", False) else TaskRun.Outcome.DONE
        skipped, failed = TaskRun.Outcome.SKIPPED, TaskRun.Outcome.FAILED
        _note(task.name, {states.SUCCESS: done, states.IGNORED: skipped}.get(state, failed))


def _note_expiry(sender: Any, expired: bool, **_: Any) -> None:
    if expired and sender.name in periodic_tasks():
        _note(sender.name, TaskRun.Outcome.EXPIRED)


def _note(task: str, outcome: str) -> None:
    try:
        TaskRun.note(task, outcome, timezone.now())
    except DatabaseError as error:
        logger.warning("task_runs.lost", task=task, outcome=outcome, error=str(error))
    finally:
        close_old_connections()


def _time(expires: Any) -> datetime:
    at = datetime.fromisoformat(expires) if isinstance(expires, str) else expires
    return at if at.tzinfo else at.replace(tzinfo=UTC)
