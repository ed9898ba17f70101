"""Whichever door a person comes through: a workspace of their own, a password worth the name, and a page at ``/``."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import services
from accounts.models import Membership, Role, Tenant, User
from accounts.services import create_person
from tests.factories import UserFactory
from tests.threads import together

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("free_plan")]
PASSWORD = "a quiet green kettle"


@pytest.fixture
def staff():
    client = Client()
    client.force_login(User.objects.create_superuser("admin@example.com", PASSWORD))
    return client


def sign_up(email):
    return Client().post("/accounts/signup/", {"email": email, "password1": PASSWORD})


def in_the_admin(email):
    client = Client()
    client.force_login(User.objects.create_superuser("admin@example.org", PASSWORD))
    return client.post("/admin/accounts/user/add/", {"email": email, "password1": PASSWORD})


def by_command(email):
    call_command("createsuperuser", "--noinput", f"--email={email}", verbosity=0)


@pytest.mark.parametrize(("door", "verified"), [(sign_up, False), (in_the_admin, True), (by_command, True)])
def test_every_door_gives_a_workspace_and_one_address_in_small_letters(door, verified, monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    door("Ana.Maria@Example.com")
    user = User.objects.get(email="ana.maria@example.com")
    membership = Membership.objects.get(user=user)
    assert (membership.role, membership.tenant.slug, membership.tenant.personal) == (Role.OWNER, "anamaria", True)
    assert list(EmailAddress.objects.filter(user=user).values_list("email", "primary", "verified")) == [
        ("ana.maria@example.com", True, verified)
    ]
    assert user.check_password(PASSWORD)
    client = Client()
    client.force_login(user)
    assert client.get("/").url == "/w/anamaria/chat/"


def test_a_person_is_made_whole_or_not_at_all(monkeypatch):
    def fail(**_):
        raise RuntimeError

    monkeypatch.setattr(services, "create_personal_tenant", fail)
    with pytest.raises(RuntimeError):
        create_person(user=User(email="ana@example.com"), verified=True)
    assert (User.objects.count(), EmailAddress.objects.count()) == (0, 0)


def test_the_command_helps_an_admin_who_was_made_without_a_workspace(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    bare = User.objects.create_superuser("bare@example.com", PASSWORD)
    by_command("new@example.com")
    assert bare.memberships.count() == 1
    with pytest.raises(CommandError, match="taken"):
        by_command("NEW@example.com")
    assert Membership.objects.count() == 2


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("new@example.com", "1"),
        ("new@example.com", "abc"),
        ("new@example.com", "password123"),
        ("new@example.com", "new@example.com"),
        ("new@example.com", ""),
        ("ADMIN@example.com", PASSWORD),
        ("not an address", PASSWORD),
    ],
)
def test_the_admins_form_asks_what_sign_up_asks(staff, email, password):
    page = staff.post("/admin/accounts/user/add/", {"email": email, "password1": password})
    assert (page.status_code, User.objects.count(), Tenant.objects.count()) == (200, 1, 0)
    assert page.context["adminform"].form.errors


def test_the_password_box_can_be_seen(staff):
    page = staff.get("/admin/accounts/user/add/").content.decode()
    box = page[page.index('name="password1"') - 200 :][:600]
    assert "dark:bg-base-900" in box
    assert "vTextField" not in page


def test_an_admins_new_password_for_somebody_changes_nothing_else(staff, monkeypatch):
    person = UserFactory()
    real = User.set_password

    def suspend_meanwhile(user, raw):
        User.objects.filter(pk=user.pk).update(is_active=False)
        real(user, raw)

    monkeypatch.setattr(User, "set_password", suspend_meanwhile)
    data = {"password1": "another green kettle", "password2": "another green kettle", "usable_password": "true"}
    assert staff.post(f"/admin/accounts/user/{person.pk}/password/", data).status_code == 302
    person.refresh_from_db()
    assert (person.check_password("another green kettle"), person.is_active) == (True, False)


@pytest.mark.parametrize("had_one", [True, False])
def test_an_address_that_an_admin_changes_is_the_one_to_log_in_with(staff, had_one):
    person = create_person(user=UserFactory.build(email="old@example.com"), verified=had_one)
    data = {"email": "New@Example.com", "is_active": "on"}
    for prefix in ("memberships", "chosen"):
        data |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}
    assert staff.post(f"/admin/accounts/user/{person.pk}/change/", data).status_code == 302
    addresses = EmailAddress.objects.filter(user=person).values_list("email", "primary", "verified")
    assert list(addresses) == [("new@example.com", True, True)]
    client = Client()
    client.post("/accounts/login/", {"login": "new@example.com", "password": "correct horse battery"})
    assert "_auth_user_id" in client.session


@pytest.mark.parametrize(("is_staff", "words"), [(True, "Open the admin"), (False, "Ask the owner")])
def test_whoever_is_in_no_workspace_is_told_what_to_do(is_staff, words):
    client = Client()
    client.force_login(UserFactory(is_staff=is_staff))
    page = client.get("/")
    assert (page.status_code, words in page.content.decode()) == (200, True)
    assert ("/admin/" in page.content.decode()) == is_staff


def test_sign_up_that_is_closed_is_offered_nowhere_and_makes_nobody(settings):
    settings.CHATAPP_SIGNUP = "closed"
    for page in ("/", "/accounts/login/"):
        assert "/accounts/signup/" not in Client().get(page).content.decode()
    page = Client().get("/accounts/signup/").content.decode()
    assert ("Sign-up is closed" in page, 'name="email"' in page) == (True, False)
    assert "Sign-up is closed" in sign_up("ana@example.com").content.decode()
    assert not User.objects.exists()


def test_sign_up_that_is_open_is_offered_on_both_pages():
    for page in ("/", "/accounts/login/"):
        assert "/accounts/signup/" in Client().get(page).content.decode()


@pytest.mark.django_db(transaction=True)
def test_people_of_one_name_sign_up_at_once(free_plan, settings):
    settings.ACCOUNT_RATE_LIMITS = False
    for round_ in range(5):
        mails = [f"info@example{number}-{round_}.com" for number in range(4)]
        responses = together(*[lambda mail=mail: sign_up(mail) for mail in mails])
        assert [response.status_code for response in responses] == [302] * 4
    assert Tenant.objects.filter(slug="info").count() == 1
    assert Tenant.objects.filter(slug__startswith="info-").count() == Membership.objects.count() - 1 == 19


@pytest.mark.django_db(transaction=True)
def test_a_double_click_on_sign_up_makes_one_person(free_plan, settings):
    settings.ACCOUNT_RATE_LIMITS = False
    for round_ in range(5):
        mail = f"ana{round_}@example.com"
        responses = together(*[lambda mail=mail: sign_up(mail)] * 3)
        assert {response.status_code for response in responses} <= {200, 302}
        assert User.objects.filter(email=mail).count() == 1
    assert Tenant.objects.count() == 5
