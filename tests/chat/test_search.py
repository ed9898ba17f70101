"""The search in one's conversations: any case, any letter, with PostgreSQL's trigrams and without."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.scoping import all_tenants
from chatapp.chat import search as searching
from chatapp.chat.models import Conversation, Message
from chatapp.chat.search import find_conversations
from chatapp.chat.search_indexes import create_search_indexes
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


@pytest.fixture
def many(person):
    """200 conversations, newest first: each tells of "the" twice, every ninth of something rare, two of signs."""
    now = timezone.now()
    rows = [
        Conversation(
            tenant=person.tenant, user=person.user, title=f"About {n}", updated_at=now - timedelta(hours=n // 2)
        )
        for n in range(200)
    ]
    Conversation.everyone.bulk_create(rows)
    signs = {150: " 100%", 190: " a_b \U0001f600"}
    Message.everyone.bulk_create(
        Message(conversation=row, tenant=person.tenant, role="user", text=f"the {word} to the{signs.get(n, '')}")
        for n, row in enumerate(rows)
        for word in ("zanzibar" if n % 9 == 8 else "kettle", "way")
    )
    return person


def page_through(person, words):
    """All that is found by asking on, and how many answers that took."""
    rows = Conversation.objects.of(person.user)
    found, last, pages = [], None, 0
    while pages == 0 or last:
        page = find_conversations(rows.after(*last) if last else rows, words, 50)
        assert len(page.conversations) <= 50
        found, last, pages = found + [row.pk for row in page.conversations], page.last, pages + 1
    return found, pages


WORDS = [
    "a",
    "th",
    "the",
    "THE W",
    "zanzibar",
    "About 1",
    "kettle to the",
    "%",
    "_",
    "\U0001f600",
    "nowhere",
    "x" * 200,
]


@pytest.mark.parametrize("seconds", [0, 60])
@pytest.mark.parametrize("milliseconds", [1, 60_000])
def test_asking_on_finds_all_newest_first_however_short_the_time(trigrams, many, monkeypatch, seconds, milliseconds):
    monkeypatch.setattr(searching, "ENOUGH_SECONDS", seconds)
    monkeypatch.setattr(searching, "INDEX_MILLISECONDS", milliseconds)
    with all_tenants():
        for words in WORDS:
            found, pages = page_through(many, words)
            assert found == search(many, words), words
            assert pages == 13 if seconds == 0 else pages <= 5, words


def test_a_word_that_is_everywhere_is_looked_for_in_the_newest_only(many):
    with all_tenants(), CaptureQueriesContext(connection) as asked:
        assert len(find_conversations(Conversation.objects.of(many.user), "e", 50).conversations) == 50
    assert len(asked) == 4
    assert not any("statement_timeout" in query["sql"] for query in asked)


def test_a_rare_word_is_left_to_the_indexes(many):
    with all_tenants(), CaptureQueriesContext(connection) as asked:
        found = find_conversations(Conversation.objects.of(many.user), "zanzibar", 50)
    assert (len(found.conversations), found.last) == (22, None)
    assert [query["sql"] for query in asked if "statement_timeout" in query["sql"]] == [
        f"set local statement_timeout = {searching.INDEX_MILLISECONDS}",
        "set local statement_timeout = default",
    ]


def test_indexes_that_take_too_long_are_left_and_the_search_goes_on_by_reading(many, monkeypatch):
    monkeypatch.setattr(searching, "INDEX_MILLISECONDS", 20)
    asked = []

    def be_slow(execute, sql, params, many, context):
        if asked and asked[-1].startswith("set local"):
            asked.append("")
            execute("select pg_sleep(5)", (), many, context)
        asked.append(sql)
        return execute(sql, params, many, context)

    with all_tenants(), connection.execute_wrapper(be_slow):
        found, pages = page_through(many, "zanzibar")
    assert (found, pages) == (search(many, "zanzibar"), 1)
    assert sum("COALESCE" in sql for sql in asked) >= 3
