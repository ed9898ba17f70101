"""The safety net: generations nobody watched are finished, those nobody knows are found again, those that nobody may
have are stopped.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta

import structlog
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.models import Membership
from chatapp.queue.transport import get_transport
from inference.errors import TransportUnavailable, UnknownGeneration

from .answering import finish_generation, mark_started, record_outcome
from .jobs import rebuild_job
from .keeping import drop_kept_texts, has_kept_text, kept_outcome
from .models import Generation
from .outcomes import read_outcome

logger = structlog.get_logger(__name__)

MOST_SUBMISSIONS = 3
# How old the transport's memory has to be before what it does not know is given up: workers that it is back for have
# told it within a second what they write. One that comes later takes back what is merely in line again.
SUBMIT_SECONDS, RESTORE_SECONDS = 3.0, 15.0
GRACE = timedelta(seconds=5)  # younger than this, its submission may be on its way


def sweep_generations(grace: timedelta = GRACE) -> dict[str, int]:
    """Look at every unfinished generation older than ``grace``; call it in the scope of all tenants.

    Returns how many were finished, submitted again, found interrupted, left running, forgotten by a transport whose
    workers may still tell it of them, and broken. Safe to run in any number of processes at once.
    """
    due = Generation.objects.unfinished().filter(created_at__lt=timezone.now() - grace)
    counts: Counter[str] = Counter()
    try:
        for generation in due.select_related("message__conversation__user", "tenant__plan").order_by("created_at"):
            counts[_sweep_safely(generation)] += 1
    except TransportUnavailable:
        logger.warning("sweep.transport_unavailable")
    drop_kept_texts()
    if counts - Counter({"running": counts["running"]}):
        logger.info("sweep", **counts)
    return dict(counts)


def release_recorded() -> int:
    """Let go of what the database knows the end of; call it in the scope of all tenants.

    Ended logs whose answers are in the database, or deleted since: whoever wrote the end has let go of them, unless it
    was killed before it could, or a transport that lost its memory was told of the log again. And jobs that wait, or
    that a worker is believed to hold, though their end is written: a replica that took over had not heard of it.
    """
    try:
        # Before the database is asked: what ends later is left to its writer.
        ended, live = get_transport().unreleased(), get_transport().live()
        due = _names(Generation.objects.unfinished().filter(pk__in=ended))
        over = _names(Generation.objects.filter(pk__in=live, finished_at__isnull=False))
        recorded = (ended - due) | over
        for generation in recorded:
            get_transport().release(generation)
    except TransportUnavailable:
        return 0
    return len(recorded)


def stop_unwanted() -> int:
    """Stop what is being written for people, workspaces and keys that may no longer have it, or not by this model,
    whoever took that from them; call it in the scope of all tenants. Returns how many were told.
    """
    here = Membership.objects.active().filter(user=OuterRef("user_id"), tenant=OuterRef("tenant_id"))
    unwanted = Generation.objects.unfinished().filter(~Exists(here) | Q(api_key__revoked_at__isnull=False))
    choosy = Generation.objects.unfinished().exclude(tenant__allowed_models=[]).exclude(model="")
    by_model = {str(row.pk) for row in choosy.select_related("tenant") if not row.tenant.allows(row.model)}
    names = _names(unwanted) | by_model
    try:
        for generation in names:
            get_transport().cancel(generation)
    except TransportUnavailable:
        return 0
    return len(names)


def _names(rows: QuerySet[Generation]) -> set[str]:
    return set(map(str, rows.values_list("pk", flat=True)))


def _sweep_safely(generation: Generation) -> str:
    """One row that cannot be swept must not keep the others waiting."""
    try:
        return _sweep(generation)
    except TransportUnavailable:
        raise
    except Exception:
        logger.exception("sweep.failed", generation=str(generation.pk))
        return "broken"


def _sweep(generation: Generation) -> str:
    try:
        outcome = read_outcome(get_transport().log(str(generation.pk)))
    except UnknownGeneration:
        return _find_again(generation)
    if outcome.ended:
        return "finished" if finish_generation(generation_id=generation.pk) else "running"
    if outcome.started:
        mark_started(generation_id=generation.pk, started=outcome.started)
    return "running"


def _find_again(generation: Generation) -> str:
    """The transport has never heard of it. Not begun: submit it again. Begun: say it was interrupted.

    A transport that has just lost its memory is told again by the workers of what they write, and processes with
    readers say what those have read (``keeping``).

    An API call's words are with the process that holds its caller; when that is gone, nobody waits for it.
    """
    waits = _waits(generation)
    if time.time() - get_transport().stats().since < (SUBMIT_SECONDS if waits else RESTORE_SECONDS):
        return "forgotten"
    if waits and generation.submissions < MOST_SUBMISSIONS:
        get_transport().submit(rebuild_job(generation))
        Generation.objects.filter(pk=generation.pk).update(submissions=F("submissions") + 1)
        return "submitted"
    record_outcome(generation_id=generation.pk, outcome=kept_outcome(generation))
    return "interrupted"


def _waits(generation: Generation) -> bool:
    """It has not begun, as far as anybody knows."""
    queued = generation.kind != Generation.Kind.CALL and generation.state == Generation.State.QUEUED
    return queued and not has_kept_text(generation)
