"""Conversations over REST."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from accounts.scoping import tenant_scope
from chatapp.chat import search
from chatapp.chat.asking import send_message
from chatapp.chat.models import Conversation, Message
from tests.factories import AnswerFactory, ConversationFactory, MessageFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(member, client_of, transport):
    return client_of(member)


@pytest.fixture
def base(member):
    return f"/api/v1/w/{member.tenant.slug}/conversations/"


def aged(member, days, **fields):
    return ConversationFactory(membership=member, updated_at=timezone.now() - timedelta(days=days), **fields)


def test_the_list_is_newest_first_without_deleted_ones(member, client, base):
    old, new = aged(member, 2), aged(member, 1)
    aged(member, 0, deleted_at=timezone.now())
    assert [row["id"] for row in client.get(base).json()["results"]] == [str(new.pk), str(old.pk)]


def test_the_list_comes_in_pages_that_neither_repeat_nor_skip(member, client, base):
    made = {str(aged(member, n / 100).pk) for n in range(120)}
    seen, url = [], base
    while url:
        page = client.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert (len(seen), set(seen)) == (120, made)


@pytest.mark.parametrize("query", [{}, {"q": "report"}])
def test_pages_neither_repeat_nor_skip_what_was_answered_at_the_same_moment(member, client, base, query):
    """As after an import, and at a page's end by chance: only the ids tell such conversations apart."""
    at = timezone.now()
    times = [at] * 60 + [at - timedelta(microseconds=1)] * 55 + [at.replace(microsecond=0) - timedelta(days=1)] * 3
    made = {str(ConversationFactory(membership=member, updated_at=time, title="Report").pk) for time in times}
    seen, page = [], client.get(base, query).json()
    while page:
        seen += page["results"]
        page = page["next"] and client.get(page["next"]).json()
    assert (len(seen), {row["id"] for row in seen}) == (118, made)
    assert seen == sorted(seen, key=lambda row: (datetime.fromisoformat(row["updated"]), row["id"]), reverse=True)


def test_a_time_alone_gives_what_is_older_and_an_id_that_is_none_is_refused(member, client, base):
    at = timezone.now()
    _, older = (ConversationFactory(membership=member, updated_at=time) for time in (at, at - timedelta(days=1)))
    found = client.get(base, {"before": at.isoformat()}).json()["results"]
    assert [row["id"] for row in found] == [str(older.pk)]
    refused = client.get(base, {"before": at.isoformat(), "before_id": "first"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request")


def test_search_finds_titles_and_messages_in_any_case(member, stranger, client, base):
    by_title = ConversationFactory(membership=member, title="Quarterly REPORT")
    by_text = ConversationFactory(membership=member, title="Other")
    MessageFactory(conversation=by_text, text="the report is due (soon)")
    umlaut = ConversationFactory(membership=member, title="Über uns")
    ConversationFactory(membership=member, title="Neither")
    ConversationFactory(membership=stranger, title="report of a stranger")
    found = {row["id"] for row in client.get(base, {"q": "report"}).json()["results"]}
    assert found == {str(by_title.pk), str(by_text.pk)}
    for words, wanted in (("über", umlaut), ("due (soon)", by_text), ("quarterly rep", by_title)):
        assert [row["id"] for row in client.get(base, {"q": words}).json()["results"]] == [str(wanted.pk)]


def test_a_search_that_has_no_time_left_is_gone_on_with_by_its_next(member, client, base, monkeypatch):
    monkeypatch.setattr(search, "ENOUGH_SECONDS", 0)
    wanted = ConversationFactory(membership=member, title="The 100% one")
    for n in range(20):
        ConversationFactory(membership=member, title=f"Newer {n}")
    page = client.get(base, {"q": "%"}).json()
    assert page["results"] == []
    page = client.get(page["next"]).json()
    assert ([row["id"] for row in page["results"]], page["next"]) == ([str(wanted.pk)], None)


def test_a_bad_time_is_named(client, base):
    response = client.get(base, {"before": "yesterday"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")


def test_rename_by_hand_is_kept_against_the_models_title(member, client, base):
    conversation = ConversationFactory(membership=member)
    response = client.patch(f"{base}{conversation.pk}/", {"title": "Mine"}, content_type="application/json")
    assert (response.status_code, response.json()["title"]) == (200, "Mine")
    fresh = Conversation.everyone.get(pk=conversation.pk)
    with tenant_scope(member.tenant_id):
        assert fresh.rename("The model's", by_hand=False) is False
    assert Conversation.everyone.get(pk=conversation.pk).title == "Mine"


@pytest.mark.parametrize("title", ["", " ", "x" * 201])
def test_a_bad_title_is_refused(member, client, base, title):
    conversation = ConversationFactory(membership=member, title="Before")
    response = client.patch(f"{base}{conversation.pk}/", {"title": title}, content_type="application/json")
    assert (response.status_code, list(response.json()["error"]["fields"])) == (400, ["title"])
    assert Conversation.everyone.get(pk=conversation.pk).title == "Before"


def test_switching_the_branch_shows_it_down_to_its_newest_end(member, client, base):
    conversation = ConversationFactory(membership=member)
    question = MessageFactory(conversation=conversation)
    first = AnswerFactory(conversation=conversation, parent=question, text="first")
    below = MessageFactory(conversation=conversation, parent=first, text="below")
    end = AnswerFactory(conversation=conversation, parent=below, text="end")
    second = AnswerFactory(conversation=conversation, parent=question, text="second")
    shown = client.patch(f"{base}{conversation.pk}/", {"leaf": str(first.pk)}, content_type="application/json").json()
    assert [message["text"] for message in shown["messages"][1:]] == ["first", "below", "end"]
    assert shown["messages"][1]["siblings"] == [str(first.pk), str(second.pk)]
    assert Conversation.everyone.get(pk=conversation.pk).leaf_id == end.pk


def test_a_branch_of_another_conversation_is_refused(member, client, base):
    conversation, other = (
        ConversationFactory(membership=member),
        AnswerFactory(conversation__membership=member),
    )
    response = client.patch(f"{base}{conversation.pk}/", {"leaf": str(other.pk)}, content_type="application/json")
    assert response.status_code == 400


def test_delete_is_undone_by_restore(member, client, base):
    conversation = ConversationFactory(membership=member)
    url = f"{base}{conversation.pk}/"
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404
    assert client.post(f"{url}restore/").status_code == 200
    assert client.get(url).status_code == 200
    assert client.post(f"{url}restore/").status_code == 404


def test_deleting_stops_an_answer_being_written(
    member, client, base, transport, hand, no_titles, django_capture_on_commit_callbacks
):
    with tenant_scope(member.tenant_id), django_capture_on_commit_callbacks(execute=True):
        accepted = send_message(membership=member, text="Hi", key=uuid.uuid4())
    hand.take()
    assert client.delete(f"{base}{accepted.conversation.pk}/").status_code == 204
    assert transport.renew("w1").cancelled == {str(accepted.generation.pk)}


def test_opening_a_conversation_of_200_messages_takes_at_most_12_queries(member, client, django_assert_max_num_queries):
    conversation = ConversationFactory(membership=member)
    parent = None
    for _ in range(100):
        parent = MessageFactory(conversation=conversation, parent=parent)
        parent = AnswerFactory(conversation=conversation, parent=parent)
    for n in range(30):
        aged(member, n)
    with django_assert_max_num_queries(12):
        response = client.get(f"/w/{member.tenant.slug}/chat/{conversation.pk}/")
    assert len(response.context["page"]["messages"]) == 200
    assert Message.everyone.filter(conversation=conversation).count() == 200
