"""A workspace that asks for a second factor: who has none is told so at every door, and goes on elsewhere."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from accounts.models import AuditEvent, Membership, Role, Tenant
from accounts.second_factor import SecondFactorAdapter
from chatapp.v1.keys import Caller, authenticate, find_refused
from chatapp.web.login_watch import Login
from tests.factories import ApiKeyFactory, MembershipFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(member):
    client = Client()
    client.force_login(member.user)
    return client


@pytest.fixture
def guarded(member):
    Tenant.objects.filter(pk=member.tenant_id).update(requires_mfa=True)
    return member.tenant.slug


def give_factor(person, kind="totp"):
    return Authenticator.objects.create(
        user=person, type=kind, data={"secret": SecondFactorAdapter().encrypt("A" * 32)}
    )


def test_who_has_none_is_told_why_and_where_to_set_one_up(guarded, client):
    for path in ("chat/", "settings/", "reports/", "settings/members/"):
        page = client.get(f"/w/{guarded}/{path}")
        assert page.status_code == 403
        assert "This workspace asks for a second factor" in page.content.decode()
        assert 'href="/accounts/2fa/"' in page.content.decode()
    reply = client.get(f"/api/v1/w/{guarded}/conversations/")
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "second_factor_required")


@pytest.mark.parametrize(("kind", "status"), [("totp", 200), ("webauthn", 200), ("recovery_codes", 403)])
def test_who_has_one_enters_and_recovery_codes_alone_are_none(kind, status, guarded, client, member):
    give_factor(member.user, kind)
    assert client.get(f"/w/{guarded}/chat/").status_code == status
    found = Login.of(Membership.objects.get(pk=member.pk), client.session.session_key).find_membership()
    assert (found is not None) is (status == 200)


def test_strangers_are_not_told_of_it(guarded):
    client = Client()
    client.force_login(MembershipFactory().user)
    assert client.get(f"/w/{guarded}/chat/").status_code == 404


def test_their_other_workspaces_stay_open(guarded, client, member):
    other = MembershipFactory(user=member.user)
    assert client.get(f"/w/{other.tenant.slug}/chat/").status_code == 200


def test_one_can_leave_without_one(guarded, client, member):
    MembershipFactory(tenant=member.tenant, role=Role.OWNER)
    assert client.delete(f"/api/v1/w/{guarded}/me/").status_code == 204


def test_api_keys_go_on(guarded, member):
    key = ApiKeyFactory(membership=member)
    assert authenticate(f"Bearer {key.secret}") == key
    assert find_refused([Caller(key.pk, "")]) == {}


def test_an_owner_needs_one_before_they_ask_it_of_others(member, client):
    Membership.objects.filter(pk=member.pk).update(role=Role.OWNER)
    path = f"/api/v1/w/{member.tenant.slug}/"
    reply = client.patch(path, {"requires_mfa": True}, content_type="application/json")
    assert (reply.status_code, list(reply.json()["error"]["fields"])) == (400, ["requires_mfa"])
    assert not Tenant.objects.get(pk=member.tenant_id).requires_mfa
    give_factor(member.user)
    assert client.patch(path, {"requires_mfa": True}, content_type="application/json").status_code == 200
    event = AuditEvent.objects.get(act="workspace.changed")
    assert (event.before, event.after) == ({"requires_mfa": False}, {"requires_mfa": True})
