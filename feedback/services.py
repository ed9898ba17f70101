"""Rating an answer and taking the rating back. Each writes its event in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import Membership
from chatapp.chat.models import Generation, Message
from chatapp.chat.permissions import get_answer
from chatapp.common.errors import AlreadyAnswering, BadRequest, Forbidden

from .models import Rating, RatingEvent
from .reasons import check_reasons


def rate_answer(
    *, membership: Membership, message_id: UUID, value: int, reasons: Sequence[str] = (), comment: str = ""
) -> Rating:
    """Make this the person's one rating of an answer of their own. The same again changes nothing.

    Raises ``NotFound`` for an answer that is not theirs, ``BadRequest`` for a question, for an answer
    that failed without a word and for reasons that do not go with ``value``, ``AlreadyAnswering``
    while the answer is being written, ``Forbidden`` where the workspace collects no ratings.
    """
    if not membership.tenant.collects_feedback:
        raise Forbidden("This workspace does not collect ratings.")
    answer = get_answer(membership, message_id)
    _refuse_unwritten(answer)
    given = {"value": value, "reasons": check_reasons(value, reasons), "comment": comment.strip()}
    with transaction.atomic():
        return _save(membership, answer, {**given, "generation_id": _latest_run(answer)})


def undo_rating(*, membership: Membership, message_id: UUID) -> None:
    """Take the person's rating back. Does nothing when there is none. Raises as ``get_answer`` does."""
    answer = get_answer(membership, message_id)
    with transaction.atomic():
        rating = Rating.objects.select_for_update().filter(user=membership.user, message=answer).first()
        if rating is not None:
            RatingEvent.record(RatingEvent.Kind.UNDONE, rating)
            rating.delete()


def _refuse_unwritten(answer: Message) -> None:
    if answer.live:
        raise AlreadyAnswering("This answer is still being written. Rate it when it has ended.")
    if answer.state in (Message.State.FAILED, Message.State.INTERRUPTED) and not answer.text:
        raise BadRequest("This answer failed before a word was written, so there is nothing to rate.")


def _latest_run(answer: Message) -> UUID:
    runs = Generation.objects.filter(message=answer, kind=Generation.Kind.ANSWER)
    return UUID(str(runs.latest("created_at").pk))


def _save(membership: Membership, answer: Message, given: dict[str, Any]) -> Rating:
    rating: Rating
    rating, new = Rating.objects.select_for_update().get_or_create(
        tenant_id=membership.tenant_id, user=membership.user, message=answer, defaults=given
    )
    if new:
        RatingEvent.record(RatingEvent.Kind.RATED, rating)
    elif rating.change(**given):
        RatingEvent.record(RatingEvent.Kind.CHANGED, rating)
    return rating
