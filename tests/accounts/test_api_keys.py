"""API keys: made in the admin, shown once, kept by their hash, revoked."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, User
from tests.factories import ApiKeyFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff():
    client = Client()
    client.force_login(User.objects.create_superuser("admin@example.com", "a quiet green kettle"))
    return client


def make(staff, tenant, user):
    return staff.post("/admin/accounts/apikey/add/", {"name": "CI", "tenant": tenant.pk, "user": user.pk})


def test_a_key_is_found_by_its_secret_until_it_is_revoked(django_assert_num_queries):
    key, other = ApiKeyFactory(), ApiKeyFactory()
    with django_assert_num_queries(1):
        found = ApiKey.find(key.secret)
        assert (found, found.tenant.plan, found.member_is_active) == (key, key.tenant.plan, True)
    assert ApiKey.find(other.secret) == other
    assert ApiKey.find(key.secret[:-1]) is None
    ApiKey.everyone.filter(pk=key.pk).update(revoked_at=timezone.now())
    assert ApiKey.find(key.secret) is None
    assert ApiKey.find(other.secret) == other


def test_only_the_hash_and_the_first_letters_are_kept():
    key = ApiKeyFactory()
    assert len(key.secret) == 46
    assert (key.prefix, key.digest) == (key.secret[:10], hashlib.sha256(key.secret.encode()).hexdigest())
    with connection.cursor() as cursor:
        cursor.execute("select row_to_json(k)::text from accounts_apikey k")
        assert key.secret not in cursor.fetchone()[0]


def test_a_busy_key_is_noted_once_a_minute(django_assert_num_queries):
    key = ApiKeyFactory()
    with django_assert_num_queries(1):
        key.note_use()
    found = ApiKey.find(key.secret)
    noted = found.last_used_at
    with django_assert_num_queries(0):
        found.note_use()
    ApiKey.everyone.update(last_used_at=noted - timedelta(minutes=2))
    ApiKey.find(key.secret).note_use()
    assert ApiKey.everyone.get().last_used_at >= noted


def test_an_admin_makes_a_key_and_sees_it_once(staff, member):
    page = make(staff, member.tenant, member.user)
    secret = re.search(r"sk-[\w-]{43}", page.content.decode())[0]
    key = ApiKey.find(secret)
    assert (key.name, key.tenant, key.user) == ("CI", member.tenant, member.user)
    assert "no-store" in page.headers["Cache-Control"]
    for path in ("/admin/accounts/apikey/", f"/admin/accounts/apikey/{key.pk}/change/"):
        assert secret not in staff.get(path).content.decode()


def test_a_key_acts_for_a_member_alone(staff, member, stranger):
    page = make(staff, member.tenant, stranger.user)
    assert f"{stranger.user} is not a member of {member.tenant}." in page.content.decode()
    assert ApiKey.everyone.count() == 0


def test_an_admin_revokes_a_key_and_does_not_delete_it(staff):
    key = ApiKeyFactory()
    staff.post("/admin/accounts/apikey/", {"action": "revoke", "_selected_action": [str(key.pk)]})
    assert ApiKey.find(key.secret) is None
    assert staff.post(f"/admin/accounts/apikey/{key.pk}/delete/", {"post": "yes"}).status_code == 403
    assert ApiKey.everyone.get().revoked_at is not None


def test_a_renamed_key_stays_where_it_is(staff, member):
    key = ApiKeyFactory()
    data = {"name": "Laptop", "tenant": member.tenant.pk, "user": member.user.pk}
    staff.post(f"/admin/accounts/apikey/{key.pk}/change/", data)
    renamed = ApiKey.find(key.secret)
    assert (renamed.name, renamed.tenant, renamed.user) == ("Laptop", key.tenant, key.user)
