"""A second factor: asked for at every login, kept encrypted, its changes in the log, reset by staff."""

from __future__ import annotations

import json
import re

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client

from accounts.models import AuditEvent, User
from accounts.second_factor import has_second_factor
from accounts.services import create_person
from tests.authenticator_app import code_of
from tests.factories import UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("free_plan")]
PASSWORD = "a quiet green kettle"


@pytest.fixture
def person():
    cache.clear()  # which counts logins
    user = User(email="ana@example.com")
    user.set_password(PASSWORD)
    return create_person(user=user, verified=True)


@pytest.fixture
def browser(person):
    """Of somebody who has just said again who they are."""
    client = Client()
    log_in(client)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def log_in(client):
    return client.post("/accounts/login/", {"login": "ana@example.com", "password": PASSWORD})


@pytest.fixture
def secret(browser):
    """Of an app that has just been set up."""
    page = browser.get("/accounts/2fa/totp/activate/")
    secret = page.context["form"].secret
    reply = browser.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    assert (reply.status_code, reply.url) == (302, "/accounts/2fa/recovery-codes/")
    return secret


@pytest.fixture
def codes(secret, browser):
    return re.findall(r"\b\d{8}\b", browser.get("/accounts/2fa/recovery-codes/").content.decode())


def inside(client):
    return "_auth_user_id" in client.session


def acts():
    return list(AuditEvent.objects.order_by("at").values_list("act", "after"))


def test_the_page_to_set_it_up_draws_a_code_that_the_policy_lets_stand(browser):
    page = browser.get("/accounts/2fa/totp/activate/")
    drawn = re.search(r"<svg.*?</svg>", page.content.decode().partition('class="qr"')[2], re.DOTALL)[0]
    assert "style" not in drawn
    assert "data:" not in drawn
    assert "<path" in drawn


@pytest.mark.parametrize("code", ["000000", "", "no digits", "٠٠٠٠٠٠", "1" * 500])
def test_a_wrong_code_sets_nothing_up(browser, person, code):
    browser.get("/accounts/2fa/totp/activate/")
    reply = browser.post("/accounts/2fa/totp/activate/", {"code": code})
    assert (reply.status_code, has_second_factor(person), acts()) == (200, False, [])


def test_from_then_on_the_password_alone_lets_nobody_in(secret):
    client = Client()
    assert log_in(client).url == "/accounts/2fa/authenticate/"
    assert not inside(client)
    assert client.get("/settings/").url.startswith("/accounts/login/")
    assert client.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    assert not inside(client)
    client.post("/accounts/2fa/authenticate/", {"code": code_of(secret, 1)})
    assert inside(client)


def test_a_recovery_code_lets_in_once_and_they_are_shown_once(codes, browser):
    assert len(codes) == 10
    assert not re.findall(r"\b\d{8}\b", browser.get("/accounts/2fa/recovery-codes/").content.decode())
    assert browser.get("/accounts/2fa/recovery-codes/download/").status_code == 403
    for expected in (True, False):
        client = Client()
        log_in(client)
        client.post("/accounts/2fa/authenticate/", {"code": codes[0]})
        assert inside(client) is expected


def test_a_copy_of_the_database_makes_no_code(secret, person):
    kept = {row.type: str(row.data) for row in Authenticator.objects.filter(user=person)}
    assert secret not in kept["totp"]
    assert sorted(kept) == ["recovery_codes", "totp"]
    assert all("gAAAA" in data for data in kept.values())


def test_a_new_secret_key_still_opens_what_the_old_one_has_closed(secret, settings):
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    client = Client()
    log_in(client)
    client.post("/accounts/2fa/authenticate/", {"code": code_of(secret, 1)})
    assert inside(client)


def test_to_remove_it_who_logged_in_long_ago_is_asked_again(secret, person):
    client = Client()
    client.force_login(person, "allauth.account.auth_backends.AuthenticationBackend")
    for path in ("totp/deactivate/", "webauthn/add/", "recovery-codes/generate/", "recovery-codes/"):
        for method in (client.get, client.post):
            reply = method(f"/accounts/2fa/{path}")
            assert reply.status_code == 405 or reply.url.startswith("/accounts/reauthenticate/")
    assert has_second_factor(person)


@pytest.mark.django_db(transaction=True)
def test_what_is_done_to_it_is_in_the_log(codes, browser, person):
    browser.post("/accounts/2fa/recovery-codes/generate/")
    browser.post("/accounts/2fa/totp/deactivate/")
    assert not Authenticator.objects.filter(user=person).exists()
    app, recovery = {"kind": "totp"}, {"kind": "recovery_codes"}
    assert acts() == [
        ("second_factor.added", app),
        ("second_factor.added", recovery),
        ("second_factor.new_codes", recovery),
        ("second_factor.removed", app),
        ("second_factor.removed", recovery),
    ]
    assert set(AuditEvent.objects.values_list("actor_id", "object_id", "tenant_id")) == {
        (person.pk, str(person.pk), None)
    }


def test_a_new_password_is_in_the_log(browser, person):
    new = "another green kettle"
    browser.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert acts() == [("password.changed", {})]


def test_staff_reset_it_for_somebody_who_has_lost_it(secret, person):
    staff = Client()
    staff.force_login(UserFactory(is_staff=True, is_superuser=True))
    chosen = {"action": "reset_second_factors", "_selected_action": [str(person.pk)]}
    for _ in range(2):  # the second time there is nothing to reset, nor to tell
        staff.post("/admin/accounts/user/", chosen)
    client = Client()
    log_in(client)
    assert inside(client)
    (event,) = AuditEvent.objects.filter(act="second_factor.reset")
    assert (event.object_id, event.before) == (str(person.pk), {"kinds": ["recovery_codes", "totp"]})


def test_staff_without_the_right_reset_nothing(secret, person):
    staff = Client()
    staff.force_login(UserFactory(is_staff=True))
    staff.post("/admin/accounts/user/", {"action": "reset_second_factors", "_selected_action": [str(person.pk)]})
    assert has_second_factor(person)


ODD = [{}, [], 1, "x", {"id": "x"}, {"response": None}, {"response": {"userHandle": 5}}, {"a": "\x00"}]


@pytest.mark.parametrize("credential", [*map(json.dumps, ODD), "", "no JSON", "[" * 5000])
@pytest.mark.parametrize("path", ["webauthn/login/", "webauthn/add/"])
def test_what_is_no_passkey_adds_nothing_and_lets_nobody_in(path, credential, browser, person):
    client = browser if "add" in path else Client()
    client.get(f"/accounts/2fa/{path}", headers={"Accept": "application/json"})
    reply = client.post(f"/accounts/2fa/{path}", {"name": "Key", "credential": credential})
    assert reply.status_code == (200 if "add" in path else 302)
    assert not has_second_factor(person)
    assert inside(client) is ("add" in path)
