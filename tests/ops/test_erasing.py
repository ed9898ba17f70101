"""Erasing people and workspaces in the admin: everything they wrote goes, what was paid stays and names nobody."""

from __future__ import annotations

from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey, LedgerEntry, Membership, Preferences, Reservation, Tenant, UsageDay, User, Work
from accounts.quotas import today
from chatapp.chat.models import Conversation, Generation, Message
from chatapp.chat.tasks import erase as erase_in_background
from feedback.models import DailyRating, Rating, RatingEvent
from tests.factories import (
    AnswerFactory,
    ApiKeyFactory,
    ConversationFactory,
    GenerationFactory,
    MembershipFactory,
    TenantFactory,
)

pytestmark = pytest.mark.django_db
WRITTEN = (Conversation, Message, Generation, Rating, RatingEvent)
SECRET = "what only they should read"


@pytest.fixture
def staff():
    client = Client()
    client.force_login(User.objects.create_superuser("admin@example.com", "a quiet green kettle"))
    return client


def live(membership: Membership, rows: int) -> Membership:
    """So many of everything that a person's days leave behind."""
    EmailAddress.objects.create(user=membership.user, email=membership.user.email, primary=True)
    Preferences.objects.create(user=membership.user, about=SECRET)
    if rows:
        UsageDay.everyone.get_or_create(tenant=membership.tenant, day=today())
        told = {"tenant": membership.tenant, "user": membership.user, "work": Work.EMBEDDING}
        Reservation.everyone.create(id=uuid4(), tokens=5, day=today(), **told)
    for number in range(rows):
        conversation = ConversationFactory(membership=membership, title=SECRET)
        first = GenerationFactory(message=AnswerFactory(conversation=conversation, text=SECRET))
        again = AnswerFactory(conversation=conversation, parent=first.message.parent, text=SECRET)
        for generation in (first, GenerationFactory(message=again), call(membership)):
            ledger(generation)
        rate(first, number)
        day = {"day": today(), "prompt_version": "test", "updated_at": conversation.updated_at}
        counts = dict.fromkeys(("answers", "rated", "up", "down"), 1)
        DailyRating.everyone.create(tenant=membership.tenant, model=f"m{number}{membership.pk}", **day, **counts)
    return membership


def call(membership: Membership) -> Generation:
    key = ApiKeyFactory(membership=membership)
    told = {"tenant": membership.tenant, "user": membership.user, "api_key": key, "kind": Generation.Kind.CALL}
    made = {"model": "test", "prompt_version": "api", "state": "done", "reserved_on": today()}
    return Generation.everyone.create(**made, **told, finished_at=timezone.now())


def ledger(generation: Generation) -> None:
    tokens = {"model": "m", "prompt_tokens": 1, "output_tokens": 2, "day": today()}
    LedgerEntry.everyone.create(tenant=generation.tenant, user=generation.user, generation_id=generation.pk, **tokens)


def rate(generation: Generation, number: int) -> None:
    about = {"tenant": generation.tenant, "user": generation.user, "message": generation.message}
    given = {"generation": generation, "value": -1 if number % 2 else 1, "comment": SECRET}
    Rating.everyone.create(**about, **given)
    RatingEvent.everyone.create(kind="rated", **about, **given)


def left(model, **where) -> int:
    return getattr(model, "everyone", model.objects).filter(**where).count()


def ask_on_the_page(staff, kind, row):
    return staff.post(f"/admin/accounts/{kind}/{row.pk}/delete/", {"post": "yes"})


def ask_from_the_list(staff, kind, *rows):
    chosen = {"action": "delete_selected", "_selected_action": [str(row.pk) for row in rows], "post": "yes"}
    return staff.post(f"/admin/accounts/{kind}/", chosen)


def on_the_page(staff, kind, row):
    reply = ask_on_the_page(staff, kind, row)
    erase_in_background()
    return reply


def from_the_list(staff, kind, *rows):
    reply = ask_from_the_list(staff, kind, *rows)
    erase_in_background()
    return reply


WAYS = pytest.mark.parametrize("erase", [on_the_page, from_the_list])


@WAYS
@pytest.mark.parametrize("rows", [0, 1, 4])
def test_a_person_goes_with_all_they_wrote_and_their_workspace_keeps_the_bill(staff, erase, rows):
    colleague = live(MembershipFactory(), 1)
    person = live(MembershipFactory(tenant=colleague.tenant, role="member"), rows)
    LogEntry.objects.log_actions(User.objects.get(email="admin@example.com").pk, [person, person.user], 2)
    assert erase(staff, "user", person.user).status_code == 302
    assert not User.objects.filter(pk=person.user_id).exists()
    for model in (*WRITTEN[:1], *WRITTEN[3:], Membership, ApiKey, Preferences, EmailAddress):
        assert left(model, user=person.user_id) == 0, model
    assert left(Generation, user=None, message=None) == rows  # calls: an account, and no words
    assert [left(model, tenant=person.tenant) for model in WRITTEN[:2]] == [1, 3]  # the colleague's
    assert left(LedgerEntry, tenant=person.tenant, user=None) == 3 * rows
    assert left(LedgerEntry, user=colleague.user) == 3
    assert not LogEntry.objects.filter(object_repr__icontains=person.user.email).exists()
    assert {entry.object_repr for entry in LogEntry.objects.filter(action_flag=3)} == {"(erased)"}


@WAYS
@pytest.mark.parametrize("rows", [0, 1, 4])
def test_a_workspace_goes_with_everything_and_leaves_its_people(staff, erase, rows):
    person, neighbour = live(MembershipFactory(), rows), live(MembershipFactory(), 1)
    assert erase(staff, "tenant", person.tenant).status_code == 302
    for model in (*WRITTEN, Membership, ApiKey, LedgerEntry, Reservation, UsageDay, DailyRating):
        assert left(model, tenant=person.tenant_id) == 0, model
        assert left(model, tenant=neighbour.tenant_id) > 0, model
    assert User.objects.filter(pk=person.user_id).exists()
    assert left(Preferences, user=person.user) == 1


@WAYS
def test_nothing_is_erased_without_rights_to_all_of_it(staff, erase):
    person = live(MembershipFactory(), 1)
    User.objects.filter(email="admin@example.com").update(is_superuser=False)
    for kind, row in (("user", person.user), ("tenant", person.tenant)):
        assert erase(staff, kind, row).status_code in (302, 403)
    assert left(Rating, user=person.user) == 1


def test_several_people_are_erased_at_once(staff):
    people = [live(MembershipFactory(), 1).user for _ in range(3)]
    assert from_the_list(staff, "user", *people).status_code == 302
    assert User.objects.count() == 1
    assert [left(model) for model in WRITTEN if model is not Generation] == [0, 0, 0, 0]


def test_a_workspace_of_ones_own_keeps_the_ledger_and_loses_the_name(staff):
    own = live(MembershipFactory(tenant=TenantFactory(name="ana", slug="ana", personal=True, accent="#aa0000")), 1)
    shared = MembershipFactory(tenant=TenantFactory(name="both", slug="both", personal=True), user=own.user)
    MembershipFactory(tenant=shared.tenant, role="member")
    on_the_page(staff, "user", own.user)
    nameless = Tenant.objects.get(pk=own.tenant_id)
    assert (nameless.name, nameless.accent) == ("Erased", "")
    assert nameless.slug.startswith("erased-")
    assert left(LedgerEntry, tenant=nameless, user=None) == 3
    assert Tenant.objects.get(pk=shared.tenant_id).slug == "both"


@pytest.mark.parametrize("kind", ["user", "tenant"])
def test_the_page_that_asks_counts_what_goes_and_shows_nothing_of_it(staff, kind):
    person = live(MembershipFactory(), 4)
    row = getattr(person, kind)
    page = staff.get(f"/admin/accounts/{kind}/{row.pk}/delete/")
    counts = dict(page.context["model_count"])
    assert (counts["conversations"], counts["messages"], counts["ratings"], counts["API keys"]) == (4, 12, 4, 4)
    assert SECRET not in page.content.decode()
    chosen = {"action": "delete_selected", "_selected_action": [str(row.pk)]}
    listed = staff.post(f"/admin/accounts/{kind}/", chosen)
    assert dict(listed.context["model_count"]) == counts
    assert SECRET not in listed.content.decode()


def test_a_plan_in_use_is_kept_and_the_page_says_by_whom(staff):
    tenant = TenantFactory()
    page = staff.get(f"/admin/accounts/plan/{tenant.plan_id}/delete/")
    assert tenant.name in page.content.decode()
    assert staff.post(f"/admin/accounts/plan/{tenant.plan_id}/delete/", {"post": "yes"}).status_code in (200, 403)
    assert Tenant.objects.filter(pk=tenant.pk).exists()


def test_rows_that_are_kept_are_not_deleted_on_pages_of_their_own(staff):
    person = live(MembershipFactory(), 1)
    for app, model in (("chat", Conversation), ("chat", Generation), ("feedback", Rating), ("accounts", LedgerEntry)):
        row = model.everyone.filter(user=person.user).first()
        name = model._meta.model_name
        assert staff.post(f"/admin/{app}/{name}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
        chosen = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
        staff.post(f"/admin/{app}/{name}/", chosen)
        assert left(model, pk=row.pk) == 1


def test_erasing_asks_the_database_no_more_for_more_rows(staff):
    few, many = live(MembershipFactory(), 1), live(MembershipFactory(), 12)
    asked = []
    for person in (live(MembershipFactory(), 1), few, many):  # the first asks for what is then remembered
        with CaptureQueriesContext(connection) as queries:
            on_the_page(staff, "tenant", person.tenant)
        asked.append(len(queries))
    assert asked[1] == asked[2]
