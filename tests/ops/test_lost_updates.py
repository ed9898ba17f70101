"""Two who change one thing at once: both changes stay."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.admin import UserAdmin
from accounts.models import Membership, Preferences, Tenant, User
from chatapp.chat.models import Conversation
from feedback.models import Rating
from tests.factories import AnswerFactory, ConversationFactory, GenerationFactory, MembershipFactory
from tests.threads import together

PREFERENCES = "/api/v1/me/preferences/"
ROUNDS = 12
at_once = pytest.mark.django_db(transaction=True)


def patch(client: Client, path: str, **data: object) -> int:
    return client.patch(path, data, content_type="application/json").status_code


@at_once
@pytest.mark.parametrize("first", [True, False])
def test_two_preferences_changed_at_once_both_stay(client_of, first):
    for _ in range(ROUNDS):
        person = MembershipFactory()
        one, other = client_of(person), client_of(person)
        if not first:
            patch(one, PREFERENCES, display_name="Ana")
        acts = [lambda c=one: patch(c, PREFERENCES, theme="dark"), lambda c=other: patch(c, PREFERENCES, about="Hi")]
        assert together(*acts) == [200, 200]
        chosen = Preferences.objects.get(user=person.user)
        assert (chosen.theme, chosen.about) == ("dark", "Hi")


@at_once
def test_a_name_and_a_branch_changed_at_once_both_stay(member, client_of):
    one, other = client_of(member), client_of(member)
    for number in range(ROUNDS):
        conversation = ConversationFactory(membership=member)
        first = AnswerFactory(conversation=conversation)
        AnswerFactory(conversation=conversation, parent=first.parent)
        path = f"/api/v1/w/{member.tenant.slug}/conversations/{conversation.pk}/"
        acts = [
            lambda path=path, n=number: patch(one, path, title=f"T{n}"),
            lambda path=path, leaf=first: patch(other, path, leaf=str(leaf.pk)),
        ]
        assert together(*acts) == [200, 200]
        stored = Conversation.everyone.get(pk=conversation.pk)
        assert (stored.title, stored.leaf_id) == (f"T{number}", first.pk)


@pytest.mark.django_db
def test_a_rating_writes_what_was_given_and_nothing_else():
    run = GenerationFactory()
    about = {"tenant": run.tenant, "user": run.user, "message": run.message, "generation": run}
    rating = Rating.everyone.create(**about, value=1, comment="Before")
    Rating.everyone.filter(pk=rating.pk).update(comment="Meanwhile")
    assert rating.change(value=-1)
    stored = Rating.everyone.get(pk=rating.pk)
    assert (stored.value, stored.comment, stored.updated_at > rating.created_at) == (-1, "Meanwhile", True)


@pytest.fixture
def staff(db):
    client = Client()
    client.force_login(User.objects.create_superuser("admin@example.com", "a quiet green kettle"))
    return client


def as_shown(page) -> dict[str, str]:
    """What a browser sends for a page on which nothing was touched: the fields, and what they began with."""
    forms = [page.context["adminform"].form]
    data: dict[str, str] = {}
    for admin_formset in page.context["inline_admin_formsets"]:
        formset = admin_formset.formset
        data |= _fields(formset.management_form)
        forms += formset.initial_forms
    for form in forms:
        data |= _fields(form)
    return data


def _fields(form) -> dict[str, str]:
    data = {}
    for field in form:
        value = field.value()
        if value is None or value is False or value == []:
            value = "" if value is None else None
        if value is not None:
            data[field.html_name] = "on" if value is True else value
        if field.field.show_hidden_initial:
            began = form.data.get(field.html_initial_name) if form.is_bound else field.value()
            data[field.html_initial_name] = "" if began is None else began
    return data


@pytest.mark.django_db
def test_two_admins_change_different_fields_of_one_workspace(staff):
    person = MembershipFactory()
    path = f"/admin/accounts/tenant/{person.tenant_id}/change/"
    first, second = as_shown(staff.get(path)), as_shown(staff.get(path))
    assert staff.post(path, first | {"name": "Renamed"}).status_code == 302
    assert staff.post(path, second | {"accent": "#aa0000"}).status_code == 302
    tenant = Tenant.objects.get(pk=person.tenant_id)
    assert (tenant.name, tenant.accent) == ("Renamed", "#aa0000")


@pytest.mark.django_db
def test_an_inline_keeps_what_the_person_chose_since_the_page_was_opened(staff, client_of):
    person = MembershipFactory()
    person.user.choose(display_name="Ana")
    path = f"/admin/accounts/user/{person.user_id}/change/"
    shown = as_shown(staff.get(path))
    patch(client_of(person), PREFERENCES, theme="dark", about="Hi")
    Membership.objects.filter(pk=person.pk).update(role="analyst")
    assert staff.post(path, shown | {"chosen-0-display_name": "Maria"}).status_code == 302
    chosen = Preferences.objects.get(user=person.user)
    assert (chosen.display_name, chosen.theme, chosen.about) == ("Maria", "dark", "Hi")
    assert Membership.objects.get(pk=person.pk).role == "analyst"


@pytest.mark.django_db
@pytest.mark.parametrize("with_initial", [True, False])
def test_a_person_is_suspended_and_keeps_the_password_they_set_at_that_moment(staff, monkeypatch, with_initial):
    person = MembershipFactory().user
    path = f"/admin/accounts/user/{person.pk}/change/"
    shown = as_shown(staff.get(path))
    if not with_initial:
        shown = {name: value for name, value in shown.items() if not name.startswith("initial-")}
    shown.pop("is_active")
    real = UserAdmin.save_form

    def changed_meanwhile(self, request, form, change):
        mine = User.objects.get(pk=person.pk)
        mine.set_password("another green kettle")
        mine.save(update_fields=["password"])
        return real(self, request, form, change)

    monkeypatch.setattr(UserAdmin, "save_form", changed_meanwhile)
    assert staff.post(path, shown).status_code == 302
    person.refresh_from_db()
    assert (person.is_active, person.check_password("another green kettle")) == (False, True)


@pytest.mark.django_db
def test_what_the_page_showed_goes_with_it(staff):
    tenant = MembershipFactory().tenant
    page = staff.get(f"/admin/accounts/tenant/{tenant.pk}/change/").content.decode()
    assert f'name="initial-name" value="{tenant.name}"' in page
    assert 'name="initial-memberships-0-role" value="owner"' in page


ADDRESS = "/admin/accounts/{}/{}/change/"
MEANWHILE = "Somebody else has changed this since the page was opened"
SAME_FIELD = [
    ("tenant", "name", "Mine", "Theirs"),
    ("tenant", "is_active", "on", None),
    ("plan", "tokens_per_day", "777", "888"),
    ("plan", "tokens_per_day", "777", ""),
    ("plan", "concurrent_answers", "3", "5"),
    ("user", "email", "mine@example.com", "theirs@example.com"),
    ("user", "is_staff", "on", None),
    ("membership", "role", "admin", "member"),
]


def row_of(kind: str):
    person = MembershipFactory(tenant__is_active=kind != "tenant")
    return {"tenant": person.tenant, "plan": person.tenant.plan, "user": person.user, "membership": person}[kind]


def changed(shown, field, value):
    return {name: old for name, old in shown.items() if name != field} | ({} if value is None else {field: value})


@pytest.mark.django_db
@pytest.mark.parametrize(("kind", "field", "mine", "theirs"), SAME_FIELD)
def test_of_two_admins_who_change_one_field_the_second_is_told(staff, kind, field, mine, theirs):
    row = row_of(kind)
    path = ADDRESS.format(kind, row.pk)
    shown = as_shown(staff.get(path))
    if theirs is None:  # there are only two values, and both admins mean the same
        assert [staff.post(path, changed(shown, field, mine)).status_code for _ in range(2)] == [302, 302]
        assert getattr(type(row)._base_manager.get(pk=row.pk), field)
        return
    assert staff.post(path, changed(shown, field, mine)).status_code == 302
    before = type(row)._base_manager.get(pk=row.pk)
    page = staff.post(path, changed(shown, field, theirs))
    assert page.status_code == 200
    assert MEANWHILE in str(page.context["errors"])
    kept = type(row)._base_manager.get(pk=row.pk)
    assert getattr(kept, field) == getattr(before, field)
    assert f'name="initial-{field}" value="{getattr(before, field)}"' in page.content.decode()
    anew = as_shown(page)
    assert staff.post(path, changed(anew, field, theirs)).status_code == 302, "who has seen it may change it"
    last = type(row)._base_manager.get(pk=row.pk)
    assert str(getattr(last, field) or "") == theirs


@pytest.mark.django_db
def test_of_two_admins_who_change_one_field_of_an_inline_the_second_is_told(staff):
    person = MembershipFactory()
    path = ADDRESS.format("tenant", person.tenant_id)
    shown = as_shown(staff.get(path))
    assert staff.post(path, shown | {"memberships-0-role": "admin"}).status_code == 302
    page = staff.post(path, shown | {"memberships-0-role": "analyst"})
    assert (page.status_code, MEANWHILE in str(page.context["errors"])) == (200, True)
    assert Membership.objects.get(pk=person.pk).role == "admin"


@at_once
def test_of_many_admins_who_save_at_one_moment_one_is_taken(staff):
    for _ in range(ROUNDS // 3):
        plan = MembershipFactory().tenant.plan
        path = ADDRESS.format("plan", plan.pk)
        shown = as_shown(staff.get(path))
        clients = [Client() for _ in range(3)]
        for client in clients:
            client.force_login(User.objects.get(email="admin@example.com"))
        acts = [
            lambda c=client, path=path, sent=shown | {"tokens_per_day": str(1000 + number)}: (
                c.post(path, sent).status_code
            )
            for number, client in enumerate(clients)
        ]
        told = together(*acts)
        assert sorted(told) == [200, 200, 302]
        plan.refresh_from_db()
        assert plan.tokens_per_day == 1000 + told.index(302)
