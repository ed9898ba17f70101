"""The door: sign up, log in, and what a new person owns."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import Membership, Role, Tenant, User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("free_plan")]
PASSWORD = "a quiet green kettle"


def sign_up(email="ana@example.com", password=PASSWORD):
    client = Client()
    return client, client.post("/accounts/signup/", {"email": email, "password1": password})


def test_sign_up_makes_a_person_with_a_workspace_of_their_own():
    client, response = sign_up()
    user = User.objects.get()
    membership = Membership.objects.get(user=user)
    assert (user.email, membership.role) == ("ana@example.com", Role.OWNER)
    assert (membership.tenant.slug, membership.tenant.plan.code, membership.tenant.personal) == (
        "ana",
        "free",
        True,
    )
    assert (response.status_code, response.url) == (302, "/")
    assert client.get("/").url == "/w/ana/chat/"


def test_the_same_name_elsewhere_gets_another_address():
    sign_up("ana@example.com")
    sign_up("ana@example.org")
    slugs = sorted(Tenant.objects.values_list("slug", flat=True))
    assert slugs[0] == "ana"
    assert slugs[1].startswith("ana-")


def test_an_address_is_taken_in_any_case_and_the_form_does_not_tell_a_stranger():
    sign_up("ana@example.com")
    _, response = sign_up("ANA@example.com")
    assert User.objects.count() == 1
    assert response.status_code in (200, 302)


@pytest.mark.parametrize("password", ["short", "password123", "ana@example.com"])
def test_weak_passwords_are_refused_and_nothing_is_made(password):
    _, response = sign_up(password=password)
    assert response.status_code == 200
    assert response.context["form"].errors["password1"]
    assert (User.objects.count(), Tenant.objects.count()) == (0, 0)


def test_passwords_are_stored_with_argon2id():
    from django.contrib.auth.hashers import make_password

    from chatapp.settings import base

    assert base.PASSWORD_HASHERS[0].endswith("Argon2PasswordHasher")
    from django.test import override_settings

    with override_settings(PASSWORD_HASHERS=base.PASSWORD_HASHERS):
        assert make_password("x").startswith("argon2$argon2id$")


def test_log_in_and_out():
    sign_up()
    client = Client()
    wrong = client.post("/accounts/login/", {"login": "ana@example.com", "password": "wrong"})
    assert (wrong.status_code, "_auth_user_id" in client.session) == (200, False)
    right = client.post("/accounts/login/", {"login": "Ana@Example.com", "password": PASSWORD})
    assert (right.status_code, "_auth_user_id" in client.session) == (302, True)
    assert client.get("/accounts/logout/").status_code == 200
    assert "_auth_user_id" in client.session
    client.post("/accounts/logout/")
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize(("path", "labels"), [("/accounts/signup/", 1), ("/accounts/login/", 1)])
def test_fields_are_labelled_email_and_password(path, labels):
    page = Client().get(path).content.decode()
    import re

    shown = [re.sub(r"<[^>]+>", "", label).strip() for label in re.findall(r"<label[^>]*>(.*?)</label>", page, re.S)]
    assert (shown.count("Email"), shown.count("Password")) == (labels, labels)
