"""Rating an answer and taking the rating back, through the service and over REST."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from accounts.models import Membership
from accounts.scoping import tenant_scope
from chatapp.chat.models import Message
from chatapp.common.errors import AlreadyAnswering, BadRequest, NotFound
from feedback.models import Rating, RatingEvent
from feedback.services import rate_answer, undo_rating
from tests.factories import GenerationFactory

Ended = Callable[..., Message]
JSON = "application/json"


@pytest.fixture
def answer(member: Membership, ended: Ended) -> Message:
    return ended(member)


def rate(membership: Membership, message_id: UUID, value: int = 1, **given: object) -> Rating:
    with tenant_scope(membership.tenant_id):
        return rate_answer(membership=membership, message_id=message_id, value=value, **given)  # type: ignore[arg-type]


def undo(membership: Membership, message_id: UUID) -> None:
    with tenant_scope(membership.tenant_id):
        undo_rating(membership=membership, message_id=message_id)


def events() -> list[tuple[str, int, str]]:
    return list(RatingEvent.everyone.values_list("kind", "value", "comment"))


def address(membership: Membership, message_id: UUID) -> str:
    return f"/api/v1/w/{membership.tenant.slug}/messages/{message_id}/rating/"


def test_a_rating_keeps_what_was_given_and_the_run_it_is_about(member: Membership, answer: Message) -> None:
    latest = GenerationFactory(message=answer)
    rating = rate(member, answer.pk, -1, reasons=["style", "too_long", "style"], comment="  Far too long. ")
    assert rating.as_json() == {"value": -1, "reasons": ["style", "too_long"], "comment": "Far too long."}
    assert (rating.user, rating.tenant, rating.generation_id) == (member.user, member.tenant, latest.pk)


def test_a_title_is_not_the_run_that_is_rated(member: Membership, answer: Message) -> None:
    GenerationFactory(message=answer, kind="title")
    assert rate(member, answer.pk).generation.kind == "answer"


def test_rating_again_changes_the_one_rating(member: Membership, answer: Message) -> None:
    rate(member, answer.pk, 1, reasons=["clear"])
    rate(member, answer.pk, -1, comment="On second thought, no.")
    assert Rating.everyone.get().as_json() == {"value": -1, "reasons": [], "comment": "On second thought, no."}
    assert events() == [("rated", 1, ""), ("changed", -1, "On second thought, no.")]


def test_the_same_rating_twice_writes_nothing_the_second_time(member: Membership, answer: Message) -> None:
    first = rate(member, answer.pk, 1, reasons=["clear"])
    second = rate(member, answer.pk, 1, reasons=["clear"])
    assert (second.pk, second.updated_at) == (first.pk, first.updated_at)
    assert events() == [("rated", 1, "")]


def test_undo_removes_the_rating_and_keeps_what_was_given(member: Membership, answer: Message) -> None:
    rate(member, answer.pk, -1, comment="Wrong.")
    undo(member, answer.pk)
    undo(member, answer.pk)
    assert not Rating.everyone.exists()
    assert events() == [("rated", -1, "Wrong."), ("undone", -1, "Wrong.")]


def test_an_answer_being_written_cannot_be_rated_yet(member: Membership, answer: Message) -> None:
    Message.everyone.filter(pk=answer.pk).update(state="streaming")
    with pytest.raises(AlreadyAnswering, match="still being written"):
        rate(member, answer.pk)
    assert events() == []


def test_a_question_cannot_be_rated(member: Membership, answer: Message) -> None:
    with pytest.raises(BadRequest, match="a question, not an answer"):
        rate(member, answer.parent_id)


def test_a_failure_without_a_word_cannot_be_rated(member: Membership, ended: Ended) -> None:
    with pytest.raises(BadRequest, match="nothing to rate"):
        rate(member, ended(member, state="failed", text="").pk)


def test_a_failure_after_some_words_can_be_rated(member: Membership, ended: Ended) -> None:
    assert rate(member, ended(member, state="failed", text="The sum").pk, -1).value == -1


def test_an_empty_but_complete_answer_can_be_rated(member: Membership, ended: Ended) -> None:
    assert rate(member, ended(member, state="done", text="").pk, -1).value == -1


@pytest.mark.parametrize(("value", "reason"), [(1, "incorrect"), (-1, "clear"), (-1, "ugly")])
def test_a_reason_must_go_with_the_value(member: Membership, answer: Message, value: int, reason: str) -> None:
    with pytest.raises(BadRequest) as refused:
        rate(member, answer.pk, value, reasons=[reason])
    assert refused.value.fields is not None
    assert refused.value.fields["reasons"][0].startswith(f"{reason} is not one of: ")


def test_only_the_person_who_asked_may_rate(
    member: Membership, plain_member: Membership, stranger: Membership, answer: Message
) -> None:
    for other in (plain_member, stranger):
        with pytest.raises(NotFound):
            rate(other, answer.pk)
        with pytest.raises(NotFound):
            undo(other, answer.pk)
    assert events() == []


def test_an_answer_of_a_deleted_conversation_cannot_be_rated(member: Membership, answer: Message) -> None:
    answer.conversation.set_deleted(timezone.now())
    with pytest.raises(NotFound):
        rate(member, answer.pk)


def test_the_database_refuses_a_second_rating_and_a_value_of_neither_kind(member: Membership, answer: Message) -> None:
    rating = rate(member, answer.pk)
    same = {"tenant": member.tenant, "user": member.user, "generation": rating.generation}
    with pytest.raises(IntegrityError, match="one_rating_per_person"), transaction.atomic():
        Rating.everyone.create(**same, message=answer, value=1)
    with pytest.raises(IntegrityError, match="rating_value_known"), transaction.atomic():
        Rating.everyone.filter(pk=rating.pk).update(value=0)


def test_put_rates_and_the_conversation_then_carries_the_rating(
    member: Membership, answer: Message, client_of: Callable[[Membership], Client]
) -> None:
    client = client_of(member)
    given = {"value": -1, "reasons": ["incorrect"], "comment": "17 × 23 is 391."}
    reply = client.put(address(member, answer.pk), given, content_type=JSON)
    assert (reply.status_code, reply.json()) == (200, given)
    thread = client.get(f"/api/v1/w/{member.tenant.slug}/conversations/{answer.conversation_id}/").json()
    assert [message["rating"] for message in thread["messages"]] == [None, given]


def test_delete_takes_the_rating_back_and_may_be_repeated(
    member: Membership, answer: Message, client_of: Callable[[Membership], Client]
) -> None:
    client = client_of(member)
    rate(member, answer.pk)
    assert client.delete(address(member, answer.pk)).status_code == 204
    assert client.delete(address(member, answer.pk)).status_code == 204
    assert not Rating.everyone.exists()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "value"),
        ({"value": 0}, "value"),
        ({"value": True}, "value"),
        ({"value": 1, "reasons": "clear"}, "reasons"),
        ({"value": 1, "reasons": ["too_long"]}, "reasons"),
        ({"value": 1, "comment": "x" * 2001}, "comment"),
        ({"value": 1, "comment": "half a pair \ud800"}, "comment"),
    ],
)
def test_put_names_the_field_that_is_wrong(
    member: Membership, answer: Message, client_of: Callable[[Membership], Client], given: dict[str, object], field: str
) -> None:
    reply = client_of(member).put(address(member, answer.pk), given, content_type=JSON)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], list(error["fields"])) == (400, "bad_request", [field])
    assert not Rating.everyone.exists()


def test_rating_a_live_answer_over_rest_is_a_conflict(
    member: Membership, answer: Message, client_of: Callable[[Membership], Client]
) -> None:
    Message.everyone.filter(pk=answer.pk).update(state="queued")
    reply = client_of(member).put(address(member, answer.pk), {"value": 1}, content_type=JSON)
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "already_answering")
