"""The admin: every list is searched, what people wrote is not shown. Who may enter: tests/doors/admin.py."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.test import Client

from accounts.models import LedgerEntry, Plan, User
from accounts.quotas import today
from chatapp.chat.tasks import erase
from tests.factories import GenerationFactory, MembershipFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff():
    client = Client()
    client.force_login(User.objects.create_superuser("admin@example.com", "a quiet green kettle"))
    return client


def registered():
    return [(model._meta.app_label, model._meta.model_name) for model in admin.site._registry]


@pytest.mark.parametrize(("app", "model"), registered())
def test_every_list_can_be_searched(staff, app, model):
    GenerationFactory()
    assert staff.get(f"/admin/{app}/{model}/", {"q": "a"}).status_code == 200


def test_an_admin_changes_a_plan_and_the_next_check_uses_it(staff, member):
    plan = member.tenant.plan
    page = staff.get(f"/admin/accounts/plan/{plan.pk}/change/")
    form = {name: page.context["adminform"].form.initial.get(name) for name in page.context["adminform"].form.fields}
    data = {name: "" if value is None else value for name, value in form.items()} | {"tokens_per_day": 777}
    assert staff.post(f"/admin/accounts/plan/{plan.pk}/change/", data).status_code == 302
    assert Plan.objects.get(pk=plan.pk).tokens_per_day == 777


def test_an_admin_makes_a_person(staff, free_plan):
    data = {"email": "new@example.com", "password1": "a quiet green kettle"}
    assert staff.post("/admin/accounts/user/add/", data).status_code == 302
    assert User.objects.get(email="new@example.com").check_password("a quiet green kettle")


def test_groups_have_names_of_their_own_and_a_tenant_is_called_a_workspace(staff):
    GenerationFactory()
    index = staff.get("/admin/")
    names = [app["name"] for app in index.context["app_list"]]
    assert (len(names), "Accounts" in names) == (len(set(names)), False)
    for app, model in registered():
        for path in (f"/admin/{app}/{model}/", f"/admin/{app}/{model}/add/"):
            words = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", staff.get(path).content.decode(), flags=re.S)
            assert not re.search(r"\btenants?\b", words, re.I), path


@pytest.mark.parametrize("path", ["", "accounts/user/", "accounts/user/add/", "chat/generation/", "accounts/plan/add/"])
def test_every_page_has_its_landmarks_once(staff, path):
    page = staff.get(f"/admin/{path}").content.decode()
    assert [len(re.findall(f"<{tag}[ >]", page)) for tag in ("main", "aside", "header")] == [1, 1, 1]
    assert (
        page.index("<aside") < page.index('<nav id="nav-sidebar-inner"') < page.index("</aside") < page.index("<main")
    )


def test_what_people_wrote_is_not_in_the_lists(staff):
    generation = GenerationFactory(message__text="a private matter")
    MembershipFactory()
    for path in ("/admin/chat/conversation/", "/admin/chat/generation/"):
        assert b"a private matter" not in staff.get(path).content
    detail = staff.get(f"/admin/chat/generation/{generation.pk}/change/")
    assert (detail.status_code, b"a private matter" in detail.content) == (200, False)


def test_guessing_an_admins_password_is_limited(settings):
    from chatapp.settings import base

    settings.ACCOUNT_RATE_LIMITS = base.ACCOUNT_RATE_LIMITS
    User.objects.create_superuser("limited@example.com", "a quiet green kettle")
    client = Client()
    assert client.post("/admin/login/", {"username": "limited@example.com", "password": "guess"}).status_code == 302
    login = "/accounts/login/"
    answers = [client.post(login, {"login": "limited@example.com", "password": "guess"}) for _ in range(8)]
    assert b"Too many failed login attempts" in answers[-1].content
    right = client.post(login, {"login": "limited@example.com", "password": "a quiet green kettle"})
    assert "_auth_user_id" not in client.session, right.status_code


def test_deleting_a_person_takes_their_conversations_and_keeps_the_ledger(staff):
    generation = GenerationFactory()
    person, tenant = generation.user, generation.tenant
    ledger = LedgerEntry.everyone.create(
        tenant=tenant,
        generation_id=generation.pk,
        user=person,
        model="m",
        prompt_tokens=1,
        output_tokens=2,
        day=today(),
    )
    page = staff.post(f"/admin/accounts/user/{person.pk}/delete/", {"post": "yes"})
    erase()
    assert (page.status_code, User.objects.filter(pk=person.pk).exists()) == (302, False)
    assert LedgerEntry.everyone.get(pk=ledger.pk).user is None
    assert staff.get(f"/admin/accounts/ledgerentry/{ledger.pk}/delete/").status_code == 403


NINES = "9" * 40


def odd_filters():
    """Every list's filters and search, in the forms that an address can give them."""
    for model, own in admin.site._registry.items():
        fields = [item[0] if isinstance(item, tuple) else item for item in own.list_filter]
        names = [name if isinstance(name, str) else name.parameter_name for name in fields]
        dates = [*names, own.date_hierarchy] if own.date_hierarchy else names
        queries = [
            "q=%00",
            "q=" + "9" * 400,
            "o=9" + "9" * 30,
            "p=" + "9" * 30,
            "p=%00",
            "e=%00",
            "id=%00",
            "id=" + "9" * 40,
        ]
        queries += [
            f"{name}{form}={value}" for name in names for form in ("", "__exact") for value in ("%00", "9" * 30)
        ]
        queries += [f"{name}__year={value}" for name in dates for value in ("9" * 30, "20000", "0", "-1", "x")]
        queries += [f"{name}__year=2026&{name}__month=13&{name}__day=99" for name in dates]
        queries += [f"{name}__gte=0001-01-01T00:00:00%2B14:00" for name in dates]
        yield f"/admin/{model._meta.app_label}/{model._meta.model_name}/", queries


@pytest.mark.parametrize(("path", "queries"), list(odd_filters()))
def test_no_filter_breaks_a_list(staff, path, queries):
    staff.raise_request_exception = False
    answered = {query: staff.get(f"{path}?{query}").status_code for query in queries}
    assert {query: status for query, status in answered.items() if status not in (200, 302, 400)} == {}
    assert {status for query, status in answered.items() if "%00" in query} == {400}


@pytest.mark.parametrize("chosen", ["\x00", NINES, "-1", "x"])
def test_an_action_on_what_is_no_row_does_nothing(staff, chosen):
    staff.raise_request_exception = False
    for action in ("revoke", "delete_selected", "\x00"):
        data = {"action": action, "_selected_action": chosen}
        assert staff.post("/admin/accounts/apikey/", data).status_code in (200, 302, 400)
