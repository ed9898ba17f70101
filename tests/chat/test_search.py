"""The search in one's conversations: any case, any letter, with PostgreSQL's trigrams and without."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from accounts.scoping import all_tenants
from chatapp.chat.models import Conversation, Message
from chatapp.chat.search import create_search_indexes
from tests.factories import ConversationFactory, MembershipFactory, MessageFactory

pytestmark = pytest.mark.django_db

TEXTS = [
    "Über uns",
    "ÀÉÎ õ ñ",
    "Привет, мир",
    "ΣΊΣΥΦΟΣ",
    "100% of a_b\\c",
    "日本語のテキスト",
    "A report. (soon) [x] *y* ^z$",
    "😀 smile",
]
FOUND = [
    ("über", 0), ("ÜBER UNS", 0), ("àéî Õ Ñ", 1), ("привет, МИР", 2), ("Σίσυφος"[:6], 3), ("0% o", 4), ("A_B\\C", 4),
    ("本語の", 5), ("テ", 5), ("^", 6), ("REPORT. (SOON)", 6), ("[X] *Y* ^Z$", 6), ("😀", 7), ("SMILE", 7),
]  # fmt: skip
NOT_FOUND = ["a.b", "a%c", "aXb", "1000%", ".*", "^report", "report soon", "uber"]


@pytest.fixture(params=[True, False], ids=["trigrams", "no trigrams"])
def trigrams(request):
    if not request.param:
        with connection.cursor() as cursor:
            cursor.execute("drop extension pg_trgm cascade")
    return request.param


@pytest.fixture
def person():
    return MembershipFactory()


@pytest.fixture(params=["title", "text"])
def written(request, person):
    """Conversations that have ``TEXTS`` in their title or in a message."""
    if request.param == "title":
        return [ConversationFactory(membership=person, title=text).pk for text in TEXTS]
    made = [ConversationFactory(membership=person, title="") for _ in TEXTS]
    for conversation, text in zip(made, TEXTS, strict=True):
        MessageFactory(conversation=conversation, text=text)
        MessageFactory(conversation=conversation, text="Something else")
    return [conversation.pk for conversation in made]


def search(person, words):
    with all_tenants():
        return list(Conversation.objects.of(person.user).matching(words).values_list("pk", flat=True))


def test_any_letter_is_found_in_any_case_and_signs_mean_themselves(trigrams, person, written):
    for words, which in FOUND:
        assert search(person, words) == [written[which]], words
    for words in NOT_FOUND:
        assert search(person, words) == [], words


def test_others_conversations_and_deleted_ones_are_never_found(trigrams, person, written):
    ConversationFactory(title=TEXTS[0])
    Conversation.everyone.filter(pk=written[0]).update(deleted_at="2026-01-01T00:00:00Z")
    assert search(person, "über") == []


def test_the_indexes_are_there_and_made_once():
    assert create_search_indexes(connection)
    assert create_search_indexes(connection)
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_indexes where indexdef like '%gin_trgm_ops%'")
        assert cursor.fetchone() == (2,)


def test_where_the_extension_may_not_be_created_the_tables_are_made_without(person, written):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("drop extension pg_trgm cascade")
        cursor.execute("create role nobody_much")
        cursor.execute("set role nobody_much")
        assert create_search_indexes(connection) is False
        cursor.execute("reset role")
    assert search(person, "über") == [written[0]]


def test_the_index_serves_the_search():
    with connection.cursor() as cursor:
        cursor.execute("set local enable_seqscan = off")
    for rows in (
        Message.everyone.filter(text__icontains="zanzibar"),
        Conversation.everyone.filter(title__icontains="zan"),
    ):
        assert "_trigrams" in rows.explain()
