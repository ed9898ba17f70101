"""Counting answers and ratings by tenant, UTC day, model and prompt version."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Membership
from accounts.scoping import NoTenantScope, tenant_scope
from chatapp.chat.models import Message
from feedback.models import DailyRating, Rating, RatingEvent, RollUp
from feedback.rollup import roll_up_ratings
from feedback.services import rate_answer, undo_rating
from feedback.tasks import roll_up as roll_up_task
from tests.factories import GenerationFactory

Ended = Callable[..., Message]
RollUpNow = Callable[..., int]
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = NOON.date()
DAY = timedelta(days=1)


def rows(*fields: str) -> list[tuple[object, ...]]:
    return list(DailyRating.everyone.order_by("day", "model", "prompt_version").values_list(*fields))


def test_answers_and_ratings_are_counted_by_day_model_and_version(
    member: Membership, ended: Ended, roll_up: RollUpNow
) -> None:
    ended(member, value=1, reasons=["clear", "correct"])
    ended(member, value=-1, reasons=["incorrect"])
    ended(member, value=-1, reasons=["incorrect", "too_long"])
    ended(member)
    ended(member, version="v2", value=1)
    ended(member, model="large")
    ended(member, NOON - DAY, value=1, reasons=["correct"])
    assert roll_up() == 4
    counts = rows("day", "model", "prompt_version", "answers", "rated", "up", "down", "reasons")
    assert counts == [
        (TODAY - DAY, "small", "v1", 1, 1, 1, 0, {"correct": 1}),
        (TODAY, "large", "v1", 1, 0, 0, 0, {}),
        (TODAY, "small", "v1", 4, 3, 1, 2, {"clear": 1, "correct": 1, "incorrect": 2, "too_long": 1}),
        (TODAY, "small", "v2", 1, 1, 1, 0, {}),
    ]


def test_each_tenant_is_counted_by_itself(
    member: Membership, stranger: Membership, ended: Ended, roll_up: RollUpNow
) -> None:
    ended(member, value=1)
    ended(stranger, value=-1)
    ended(stranger)
    roll_up()
    by_tenant = {row.tenant_id: (row.answers, row.up, row.down) for row in DailyRating.everyone.all()}
    assert by_tenant == {member.tenant_id: (1, 1, 0), stranger.tenant_id: (2, 0, 1)}


def test_a_day_is_a_utc_day(member: Membership, ended: Ended, roll_up: RollUpNow) -> None:
    ended(member, datetime(2026, 3, 9, 23, 59, 59, 999999, tzinfo=UTC))
    ended(member, datetime(2026, 3, 10, tzinfo=UTC))
    ended(member, datetime(2026, 3, 10, 2, tzinfo=UTC).astimezone(None))
    roll_up()
    assert rows("day", "answers") == [(date(2026, 3, 9), 1), (date(2026, 3, 10), 2)]


def test_days_without_answers_have_no_row(member: Membership, ended: Ended, roll_up: RollUpNow) -> None:
    ended(member, NOON)
    ended(member, NOON - 2 * DAY)
    roll_up()
    assert rows("day") == [(TODAY - 2 * DAY,), (TODAY,)]


def test_what_is_no_answer_is_not_counted(member: Membership, ended: Ended, roll_up: RollUpNow) -> None:
    ended(member, state="stopped", text="Half of")
    ended(member, state="stopped", text="")
    ended(member, state="failed", text="Half of")
    ended(member, state="failed", text="")
    ended(member, state="interrupted", text="")
    answer = ended(member)
    GenerationFactory(message=answer.parent, kind="title", finished_at=NOON)
    GenerationFactory(message=ended(member, NOON - 2 * DAY), state="queued", finished_at=None)
    roll_up()
    assert rows("day", "answers") == [(TODAY - 2 * DAY, 1), (TODAY, 4)]


def test_a_continued_answer_is_one_answer_of_the_day_it_ended(
    member: Membership, ended: Ended, roll_up: RollUpNow
) -> None:
    answer = ended(member, NOON - 20 * DAY, value=1)
    roll_up(NOON - DAY)
    assert rows("day", "answers", "up") == [(TODAY - 20 * DAY, 1, 1)]
    GenerationFactory(message=answer, prompt_version="v2", finished_at=NOON)
    roll_up(NOON)
    assert rows("day", "prompt_version", "answers", "up") == [(TODAY, "v2", 1, 1)]


def test_counting_again_changes_nothing(member: Membership, ended: Ended, roll_up: RollUpNow) -> None:
    ended(member, value=1, reasons=["clear"])
    ended(member, NOON - DAY)
    assert roll_up() == 2
    before = rows("pk", "updated_at")
    assert roll_up(NOON + timedelta(minutes=1)) == 0
    assert rows("pk", "updated_at") == before


def test_a_rating_taken_back_is_no_longer_counted(member: Membership, ended: Ended, roll_up: RollUpNow) -> None:
    answer = ended(member)
    with tenant_scope(member.tenant_id):
        rate_answer(membership=member, message_id=answer.pk, value=-1, reasons=["unsafe"])
    roll_up()
    assert rows("answers", "rated", "down", "reasons") == [(1, 1, 1, {"unsafe": 1})]
    with tenant_scope(member.tenant_id):
        undo_rating(membership=member, message_id=answer.pk)
    roll_up()
    assert rows("answers", "rated", "down", "reasons") == [(1, 0, 0, {})]


def test_an_old_answer_rated_now_is_counted_on_its_own_day(
    member: Membership, ended: Ended, roll_up: RollUpNow
) -> None:
    answer = ended(member, NOON - 40 * DAY)
    ended(member, NOON - 60 * DAY, value=1)
    roll_up(NOON)
    DailyRating.everyone.filter(day=TODAY - 60 * DAY).update(answers=99)  # not to be looked at again
    with time_machine.travel(NOON + timedelta(seconds=30)), tenant_scope(member.tenant_id):
        rate_answer(membership=member, message_id=answer.pk, value=1)
    assert roll_up(NOON + timedelta(minutes=1)) == 1
    assert rows("day", "answers", "up") == [(TODAY - 60 * DAY, 99, 1), (TODAY - 40 * DAY, 1, 1)]


def test_an_event_that_committed_late_is_found_by_the_next_run(
    member: Membership, ended: Ended, roll_up: RollUpNow
) -> None:
    answer = ended(member, NOON - 40 * DAY)
    roll_up(NOON)
    with time_machine.travel(NOON - timedelta(minutes=4)), tenant_scope(member.tenant_id):
        rate_answer(membership=member, message_id=answer.pk, value=1)
    roll_up(NOON + timedelta(minutes=1))
    assert rows("up") == [(1,)]


def test_the_first_run_counts_everything(member: Membership, ended: Ended, roll_up: RollUpNow) -> None:
    ended(member, NOON - 300 * DAY)
    roll_up(days=1)
    assert rows("day", "answers") == [(TODAY - 300 * DAY, 1)]


def test_days_missed_while_nothing_ran_are_counted(member: Membership, ended: Ended, roll_up: RollUpNow) -> None:
    roll_up(NOON - 10 * DAY)
    ended(member, NOON - 9 * DAY)
    roll_up(NOON, days=1)
    assert rows("day", "answers") == [(TODAY - 9 * DAY, 1)]


def test_a_row_whose_answers_are_gone_is_removed(member: Membership, ended: Ended, roll_up: RollUpNow) -> None:
    answer = ended(member, value=1)
    ended(member, model="large")
    roll_up()
    answer.conversation.delete()
    assert roll_up() == 1
    assert rows("model") == [("large",)]


def test_the_number_of_statements_does_not_grow_with_the_rows(
    member: Membership, ended: Ended, roll_up: RollUpNow
) -> None:
    for model in ("a", "b", "c", "d"):
        for age in range(3):
            ended(member, NOON - age * DAY, model=model, value=1)
    roll_up(NOON - 30 * DAY)
    with CaptureQueriesContext(connection) as queries:
        assert roll_up() == 12
    # savepoint, lock, two looks at older days, count, stored rows, insert in its savepoint, the new time, release
    assert len(queries) <= 11


def test_a_roll_up_outside_every_scope_is_refused(db: None) -> None:
    RollUp.objects.create(name="ratings", counted_at=NOON)
    with pytest.raises(NoTenantScope):
        roll_up_ratings(days=3, now=NOON)
    assert RollUp.last() == NOON


def test_the_task_counts_the_days_of_the_setting(member: Membership, ended: Ended, settings: object) -> None:
    settings.CHATAPP_ROLL_UP_DAYS = 2  # type: ignore[attr-defined]
    RollUp.objects.create(name="ratings", counted_at=NOON)
    ended(member, NOON)
    ended(member, NOON - DAY)
    ended(member, NOON - 2 * DAY)
    with time_machine.travel(NOON):
        roll_up_task.delay()
    assert rows("day") == [(TODAY - DAY,), (TODAY,)]
    assert RollUp.last() == NOON


def test_the_command_counts_as_many_days_as_it_is_told(member: Membership, ended: Ended) -> None:
    RollUp.objects.create(name="ratings", counted_at=NOON)
    ended(member, NOON - 5 * DAY)
    said = StringIO()
    with time_machine.travel(NOON):
        call_command("roll_up_ratings", "--days", "5", stdout=said)
        assert rows("day") == []
        call_command("roll_up_ratings", "--days", "6", stdout=said)
    assert rows("day") == [(TODAY - 5 * DAY,)]
    assert said.getvalue().splitlines()[-1] == "Counted the last 6 days: 1 row changed."


@pytest.mark.parametrize("days", ["0", "-1", "many"])
def test_the_command_refuses_what_is_no_number_of_days(db: None, days: str) -> None:
    with pytest.raises(CommandError, match="--days"):
        call_command("roll_up_ratings", f"--days={days}")


def test_history_survives_the_roll_up(member: Membership, ended: Ended, roll_up: RollUpNow) -> None:
    answer = ended(member)
    with tenant_scope(member.tenant_id):
        rate_answer(membership=member, message_id=answer.pk, value=1)
        undo_rating(membership=member, message_id=answer.pk)
    roll_up()
    assert list(RatingEvent.everyone.values_list("kind", flat=True)) == ["rated", "undone"]
    assert not Rating.everyone.exists()
