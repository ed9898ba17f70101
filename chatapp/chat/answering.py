"""The life of a generation: reserved and submitted, then finished once, whoever sees its end first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import LedgerEntry, Tenant, UsageDay, User
from accounts.quotas import Usage, check_concurrency, check_rate, reserve_tokens, today
from chatapp.common.errors import ChatappError
from chatapp.queue.admission import find_refusal
from chatapp.queue.available_models import choose_model, live_workers
from chatapp.queue.jobs import longest_bill
from chatapp.queue.transport import get_transport
from inference.errors import UnknownGeneration
from inference.messages import Ended, Started

from . import prompts
from .jobs import answer_job, instructions, submit_on_commit
from .models import Generation, Message
from .outcomes import Outcome, read_outcome
from .titles import file_title

# Of a generation, what its start tells, and its log.
START = (
    *("started_at", "worker", "model", "model_revision", "seed", "sampling", "dropped_messages", "queue_ms"),
    "prompt_tokens",
)
HOW = (
    *START,
    *("state", "cached_tokens", "output_tokens", "prefill_ms", "decode_ms", "finish_reason", "error_code"),
)


def start_answer(
    *, tenant: Tenant, user: User, message: Message, turns: Sequence[prompts.Turn], key: UUID, model: str = ""
) -> tuple[Generation, Usage]:
    """Reserve tokens for ``message``, the pending answer to ``turns``, and submit its generation on commit.

    Returns the generation, and the tenant's usage with it. ``model`` is what this request asks for. Call it in the
    transaction that wrote the message. Raises the refusals of ``choose_model``, ``accounts.quotas`` and admission; the
    transaction then rolls back and nothing is written.
    """
    workers = live_workers()
    model = choose_model(model, user.preferences.default_model, workers, tenant.allowed_models)
    chat = prompts.assemble_answer(turns, instructions(user, tenant))
    generation = Generation(
        tenant=tenant,
        user=user,
        message=message,
        idempotency_key=key,
        model=model,
        prompt_version=prompts.VERSION,
        resumed_characters=len(message.text),
        reserved_on=today(),
        submissions=1,
    )
    job = answer_job(generation, chat)
    generation.reserved_tokens = longest_bill(job)
    generation.save(force_insert=True)
    check_rate(tenant)  # a repeated request has failed above, and costs nothing
    usage = reserve_answers([generation], find_refusal(job, tenant.plan, workers))
    submit_on_commit(generation, job)
    return generation, usage


def reserve_answers(written: Sequence[Generation], refusal: ChatappError | None) -> Usage:
    """What every answer has to pass after the rate, whichever door it came through: quota, answers at once, admission.

    ``written`` are one request's, just written in this transaction. ``refusal`` is admission's, asked for before: from
    here on until the transaction ends others of the tenant wait, so that nothing else is asked. Raises the refusals of
    ``accounts.quotas``, else ``refusal``.
    """
    tenant, day = written[0].tenant, written[0].reserved_on or today()
    # Locks the tenant's row of the day: the count below is exact.
    usage = reserve_tokens(tenant, sum(generation.reserved_tokens for generation in written), day)
    running = Generation.objects.unfinished().filter(tenant=tenant, kind__in=Generation.ANSWERS).count()
    check_concurrency(tenant, running - 1)
    if refusal:
        raise refusal
    return usage


def mark_started(*, generation_id: UUID, started: Started) -> None:
    """The engine took the job. Called by whoever sees it first; later calls change nothing.

    Its message is never brought back from an end, not even from one that is written at this moment.
    """
    rows = Generation.everyone.filter(pk=generation_id, state=Generation.State.QUEUED)
    if rows.update(state=Generation.State.RUNNING, started_at=_time(started.at), worker=started.worker[:100]):
        message_id = Generation.everyone.filter(pk=generation_id).values("message")
        Message.everyone.filter(pk__in=message_id, state__in=Message.LIVE).update(state=Message.State.STREAMING)


def explain_start(*, generation_id: UUID, started: Started) -> None:
    """What a start says of how an answer is made, of one whose log will not tell it any more."""
    rows = Generation.everyone.filter(pk=generation_id, finished_at=None)
    if generation := rows.first():
        _explain_start(generation, started)
        rows.update(**{name: getattr(generation, name) for name in START})


def finish_generation(*, generation_id: UUID, outcome: Outcome | None = None) -> Generation | None:
    """Write an ended log into the database. Returns the generation, with its message, to the one call that did it.

    The answer, the account of how it was made and the settlement of its tokens are one transaction;
    any number of callers may race. None while the log has no end, or when another call was first.
    ``outcome`` is what the log says, from whoever has just read all of it. Raises ``UnknownGeneration`` when there is
    no log.
    """
    transport = get_transport()
    outcome = outcome or read_outcome(transport.log(str(generation_id)))
    if outcome.ended is None:
        return None
    done = record_outcome(generation_id=generation_id, outcome=outcome)
    transport.release(str(generation_id))
    return done


def record_outcome(*, generation_id: UUID, outcome: Outcome) -> Generation | None:
    """See ``finish_generation``, given what the log says."""
    with transaction.atomic():
        rows = Generation.everyone.filter(pk=generation_id, finished_at=None)
        generation: Generation | None = rows.select_related("message").first()
        if generation is None:
            return None
        if generation.kind == Generation.Kind.ANSWER:
            outcome = outcome.as_answer(generation.written.text)
        _explain(generation, outcome)
        if not rows.update(finished_at=timezone.now(), **{name: getattr(generation, name) for name in HOW}):
            return None  # another call was first
        if generation.kind == Generation.Kind.ANSWER:
            _end_message(generation, outcome)
        if generation.kind == Generation.Kind.TITLE:
            file_title(generation=generation, outcome=outcome)
        if generation.kind in Generation.ANSWERS:
            _settle(generation)
    return generation


def drop_answers(*, written: Iterable[Generation]) -> None:
    """End now what is being written of these, with what there is of it: their rows are about to go, and what they
    have reserved would stay reserved.

    Call it in the transaction that deletes them; the transport is told once that is done. Raises
    ``TransportUnavailable``: what is to be charged, only the transport knows.
    """
    for generation in written:
        record_outcome(generation_id=generation.pk, outcome=_outcome_so_far(generation.pk))
        transaction.on_commit(partial(get_transport().release, str(generation.pk)), robust=True)


def _outcome_so_far(generation_id: UUID) -> Outcome:
    try:
        outcome = read_outcome(get_transport().log(str(generation_id)))
    except UnknownGeneration:
        outcome = read_outcome([])
    ended = Ended(outcome.last_seq + 1, "cancelled", outcome.tokens, at=time.time())
    return outcome if outcome.ended else replace(outcome, ended=ended)


def _explain(generation: Generation, outcome: Outcome) -> None:
    """Set the fields of ``HOW``."""
    generation.state = outcome.state
    if outcome.started:
        _explain_start(generation, outcome.started)
    if ended := outcome.ended:
        generation.finish_reason, generation.error_code = ended.reason, ended.error_code[:40]
        generation.output_tokens, generation.cached_tokens = ended.output_tokens, ended.cached_tokens
        generation.prompt_tokens = ended.prompt_tokens or generation.prompt_tokens
        generation.prefill_ms, generation.decode_ms = (
            _milliseconds(ended.prefill_seconds),
            _milliseconds(ended.decode_seconds),
        )


def _explain_start(generation: Generation, started: Started) -> None:
    """Set the fields of ``START``."""
    generation.started_at = _time(started.at)
    generation.worker, generation.model = started.worker[:100], started.model
    generation.model_revision, generation.seed = started.model_revision[:80], started.seed
    generation.sampling, generation.dropped_messages = started.sampling, started.dropped_messages
    generation.prompt_tokens = started.prompt_tokens
    generation.queue_ms = max(0, _milliseconds(started.at - generation.created_at.timestamp()))


def _end_message(generation: Generation, outcome: Outcome) -> None:
    ended = outcome.ended
    message = generation.written
    message.end(
        state=outcome.state,
        text=message.text + outcome.text,
        thought="\n\n".join(filter(None, (message.thought, outcome.thought.strip()))),
        model=generation.model,
        can_continue=outcome.can_continue,
        error=(ended.error_code, ended.error_message) if ended else ("", ""),
    )


def _settle(generation: Generation) -> None:
    """Give the reservation back and charge what was really used, in the ledger and in the day.

    The day's row last: others of the tenant wait for it.
    """
    prompt, cached = (generation.prompt_tokens, generation.cached_tokens) if generation.pays_prompt else (0, 0)
    used = prompt + generation.output_tokens
    if used:
        LedgerEntry.everyone.create(
            tenant_id=generation.tenant_id,
            generation_id=generation.pk,
            user_id=generation.user_id,
            model=generation.model,
            prompt_tokens=prompt,
            cached_tokens=cached,
            output_tokens=generation.output_tokens,
            day=generation.reserved_on,
        )
    generation.day_counts = UsageDay.settle(
        tenant_id=generation.tenant_id,
        day=generation.reserved_on,  # type: ignore[arg-type]
        reserved=generation.reserved_tokens,
        used=used,
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
