"""The reports page and its export: who sees them, and what numbers they show."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Membership, Role
from accounts.scoping import tenant_scope
from chatapp.chat.models import Message
from feedback.models import DailyRating
from feedback.reports import Period, latest_comments, read_report
from tests.factories import MembershipFactory

Ended = Callable[..., Message]
ClientOf = Callable[[Membership], Client]
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = NOON.date()
DAY = timedelta(days=1)
MONTH = Period.ending(TODAY, 28)


@pytest.fixture(autouse=True)
def at_noon():
    with time_machine.travel(NOON, tick=False):
        yield


def page(membership: Membership, query: str = "") -> str:
    return f"/w/{membership.tenant.slug}/reports/{query}"


def test_owner_admin_and_analyst_see_reports(member: Membership, client_of: ClientOf) -> None:
    admin = MembershipFactory(tenant=member.tenant, role=Role.ADMIN)
    analyst = MembershipFactory(tenant=member.tenant, role=Role.ANALYST)
    for reader in (member, admin, analyst):
        client = client_of(reader)
        assert client.get(page(member)).templates[0].name == "feedback/report.html"
        assert client.get(page(member, "export.csv")).headers["Content-Type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize("path", ["", "export.csv"])
def test_a_plain_member_is_told_that_reports_are_not_for_their_role(
    plain_member: Membership, client_of: ClientOf, ended: Ended, roll_up: Callable[[], int], path: str
) -> None:
    ended(plain_member, value=1, comment="Secret praise", model="secret-model")
    roll_up()
    reply = client_of(plain_member).get(page(plain_member, path))
    assert (reply.status_code, reply.templates[0].name) == (403, "403.html")
    assert b"ecret" not in reply.content


@pytest.mark.parametrize("days", ["0", "5", "-7", "seven", "7 "])
def test_a_range_that_is_not_offered_is_refused(member: Membership, client_of: ClientOf, days: str) -> None:
    assert client_of(member).get(page(member), {"days": days}).status_code == 400


def test_the_report_adds_up_its_period_and_the_one_before(
    member: Membership, ended: Ended, roll_up: Callable[[], int]
) -> None:
    ended(member, value=1, reasons=["clear"])
    ended(member, NOON - 27 * DAY, value=-1, reasons=["style"], version="v0")
    ended(member, NOON - 27 * DAY, model="large")
    ended(member, NOON - 28 * DAY, value=-1)
    ended(member, NOON - 55 * DAY)
    ended(member, NOON - 56 * DAY, value=1)
    roll_up()
    with tenant_scope(member.tenant_id):
        report = read_report(period=MONTH)
        small = read_report(period=MONTH, model="small")
    assert (report.total.answers, report.total.rated, report.total.up, report.total.down) == (3, 2, 1, 1)
    assert (report.before.answers, report.before.rated, report.before.up, report.before.down) == (2, 1, 0, 1)
    assert report.models == ["large", "small"]
    first = TODAY - 27 * DAY
    assert list(report.by_day) == [first, TODAY]
    assert list(report.by_day_and_model) == [(TODAY, "small"), (first, "large"), (first, "small")]
    assert (small.total.answers, list(small.by_model)) == (2, ["small"])
    assert [(reason.label, reason.share.part, reason.share.whole) for reason in report.reasons(-1)] == [
        ("Style or tone", 1, 1)
    ]


def test_another_tenants_ratings_are_in_no_report(
    member: Membership, stranger: Membership, ended: Ended, roll_up: Callable[[], int], client_of: ClientOf
) -> None:
    ended(stranger, value=-1, comment="Secret complaint", model="secret-model")
    roll_up()
    reply = client_of(member).get(page(member))
    assert b"ecret" not in reply.content
    assert reply.context["report"].total.answers == 0
    assert b"ecret" not in client_of(member).get(page(member, "export.csv")).content


def test_the_page_shows_numbers_with_their_interval_and_never_fills_with_zero(
    member: Membership, ended: Ended, roll_up: Callable[[], int], client_of: ClientOf
) -> None:
    for place in range(12):
        ended(member, NOON - 2 * DAY, value=1 if place < 9 else -1)
    ended(member, NOON - DAY)
    roll_up()
    reply = client_of(member).get(page(member))
    text = reply.content.decode()
    assert "75%" in text
    assert "95% interval 47–91%, from 12 ratings" in text
    assert "12 of 13 answers rated" in text
    assert text.count('<circle class="chart-point"') == 1 + 2  # one rated day, two keys of the legend
    assert "Sun 8 Mar: 75% good (95%: 47–91%), 12 ratings of 12 answers" in text
    assert "Mon 9 Mar: 1 answer, none rated" in text
    assert "Tue 10 Mar: no answers" in text
    assert "Counted at 12:00 UTC. Next at 12:01 UTC." in text


def test_few_ratings_are_said_to_be_few(
    member: Membership, ended: Ended, roll_up: Callable[[], int], client_of: ClientOf
) -> None:
    ended(member, value=1)
    ended(member, value=1)
    roll_up()
    text = client_of(member).get(page(member)).content.decode()
    assert "2 of 2" in text
    assert "Too few ratings to say" in text


def test_an_empty_report_says_how_ratings_come_about(
    member: Membership, client_of: ClientOf, ended: Ended, roll_up: Callable[[], int]
) -> None:
    client = client_of(member)
    text = client.get(page(member)).content.decode()
    assert "No answers in these 28 days" in text
    assert "Nothing has been counted yet. Counting runs every 60 s, in the background worker." in text
    ended(member)
    roll_up()
    assert "No ratings in these 28 days" in client.get(page(member)).content.decode()


def test_nothing_in_the_page_is_inline(
    member: Membership, ended: Ended, roll_up: Callable[[], int], client_of: ClientOf
) -> None:
    ended(member, value=-1, comment="<script>alert(1)</script>", reasons=["style"])
    roll_up()
    text = client_of(member).get(page(member)).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert " style=" not in text
    assert "<script>" not in text
    assert " onclick=" not in text


def test_comments_come_with_their_question_and_without_their_author(
    member: Membership, plain_member: Membership, ended: Ended
) -> None:
    answer = ended(plain_member, value=-1, reasons=["incorrect", "too_long"], comment="17 × 23 is 391.")
    Message.everyone.filter(pk=answer.parent_id).update(text="What is 17 × 23? " + "x" * 500)
    ended(plain_member, value=1)
    with tenant_scope(member.tenant_id):
        (comment,) = latest_comments(period=MONTH)
    assert comment == {
        "value": -1,
        "reasons": ["Not correct", "Too long"],
        "comment": "17 × 23 is 391.",
        "updated_at": NOON,
        "model": "small",
        "question": ("What is 17 × 23? " + "x" * 500)[:200],
    }


def test_comments_are_the_newest_of_the_period_and_model(member: Membership, ended: Ended) -> None:
    ended(member, NOON - 27 * DAY, value=1, comment="first day")
    ended(member, NOON - 28 * DAY, value=1, comment="the day before")
    ended(member, value=1, comment="another model", model="large")
    with tenant_scope(member.tenant_id):
        assert {row["comment"] for row in latest_comments(period=MONTH)} == {"first day", "another model"}
        assert [row["comment"] for row in latest_comments(period=MONTH, model="large")] == ["another model"]


def test_comments_of_deleted_conversations_are_not_shown(member: Membership, ended: Ended) -> None:
    answer = ended(member, value=1, comment="gone")
    answer.conversation.set_deleted(timezone.now())
    with tenant_scope(member.tenant_id):
        assert latest_comments(period=MONTH) == []


def test_the_export_has_a_row_for_each_day_model_and_version(
    member: Membership, ended: Ended, roll_up: Callable[[], int], client_of: ClientOf
) -> None:
    ended(member, value=1, reasons=["clear"])
    ended(member, value=-1, reasons=["style"])
    ended(member, NOON - DAY, model="large", version="v2")
    ended(member, NOON - 7 * DAY)
    roll_up()
    reply = client_of(member).get(page(member, "export.csv?days=7"))
    name = f'attachment; filename="ratings-{member.tenant.slug}-2026-03-04-2026-03-10.csv"'
    assert reply.headers["Content-Disposition"] == name
    head, *rows = csv.reader(StringIO(reply.content.decode()))
    first, second = (dict(zip(head, row, strict=True)) for row in rows)
    assert list(first.values())[:11] == ["2026-03-09", "large", "v2", "1", "0", "0", "0", "", "", "", "0.0000"]
    assert list(second.values())[:7] == ["2026-03-10", "small", "v1", "2", "2", "1", "1"]
    assert list(second.values())[7:11] == ["0.5000", "0.0945", "0.9055", "1.0000"]
    assert (second["good_clear"], second["bad_style"], second["bad_other"]) == ("1", "1", "0")


def test_the_export_keeps_to_the_model(
    member: Membership, ended: Ended, roll_up: Callable[[], int], client_of: ClientOf
) -> None:
    ended(member)
    ended(member, model="large")
    roll_up()
    reply = client_of(member).get(page(member, "export.csv"), {"model": "large"})
    assert [row[1] for row in csv.reader(StringIO(reply.content.decode()))] == ["model", "large"]


def test_the_page_costs_as_many_queries_for_ninety_days_as_for_one(
    member: Membership, ended: Ended, client_of: ClientOf
) -> None:
    client = client_of(member)
    client.get(page(member))
    ended(member, value=1, comment="one")
    costs = []
    for days in (1, 90):
        rows = [
            DailyRating(
                tenant=member.tenant,
                day=TODAY - age * DAY,
                model=model,
                prompt_version="v1",
                **{"answers": 9, "rated": 4, "up": 3, "down": 1, "updated_at": NOON},
            )
            for age in range(days)
            for model in ("a", "b")
        ]
        DailyRating.everyone.bulk_create(rows, ignore_conflicts=True)
        with CaptureQueriesContext(connection) as queries:
            client.get(page(member, "?days=90"))
        costs.append(len(queries))
    assert costs[0] == costs[1]
    assert costs[0] <= 8
