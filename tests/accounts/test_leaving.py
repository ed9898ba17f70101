"""A person deletes their account: asked again who they are, and not while others depend on it."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from accounts.leaving import held_workspaces
from accounts.models import AuditEvent, Erasure, Membership, Role, Tenant, User
from accounts.scoping import all_tenants
from accounts.services import create_person
from chatapp.chat.erasing import go_on_erasing
from chatapp.chat.models import Conversation
from tests.factories import ConversationFactory, MembershipFactory, TenantFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("free_plan")]
PASSWORD = "a quiet green kettle"
PATH = "/settings/account/delete/"


@pytest.fixture
def person():
    cache.clear()  # which counts logins
    user = User(email="ana@example.com")
    user.set_password(PASSWORD)
    return create_person(user=user, verified=True)


@pytest.fixture
def client(person):
    client = Client()
    client.post("/accounts/login/", {"login": person.email, "password": PASSWORD})
    return client


@pytest.fixture
def known(client):
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def test_who_has_not_just_said_who_they_are_is_asked(client, person):
    assert client.get(PATH).url.startswith("/accounts/reauthenticate/")
    assert client.post(PATH).url == PATH
    assert not Erasure.objects.exists()


def test_it_names_what_goes_and_then_all_of_it_does(known, person):
    membership = Membership.objects.get(user=person)
    ConversationFactory.create_batch(3, membership=membership)
    assert "3 chats" in known.get(PATH).content.decode()
    assert known.post(PATH).url == "/"
    assert known.get("/settings/").status_code == 302
    assert AuditEvent.objects.values_list("act", "object_id").get() == ("account.deleted", str(person.pk))
    with all_tenants():
        go_on_erasing()
    assert not User.objects.filter(pk=person.pk).exists()
    assert not Conversation.everyone.exists()


def shared(person, **other):
    tenant = TenantFactory(name="Observatory")
    MembershipFactory(tenant=tenant, user=person, role=Role.OWNER)
    return MembershipFactory(tenant=tenant, **{"role": Role.MEMBER, **other})


def test_the_only_owner_of_what_others_are_in_is_shown_the_way_on(known, person):
    place = shared(person)
    reply = known.post(PATH)
    assert (reply.status_code, Erasure.objects.count()) == (400, 0)
    assert f'href="/w/{place.tenant.slug}/settings/members/"' in reply.content.decode()
    assert User.objects.get(pk=person.pk).is_active


@pytest.mark.parametrize(("other", "held"), [(Role.OWNER, 0), (Role.ADMIN, 1), (Role.MEMBER, 1)])
def test_another_owner_sets_one_free(other, held, person):
    place = shared(person, role=other)
    assert len(held_workspaces(person)) == held
    Membership.objects.filter(pk=place.pk).delete()
    assert held_workspaces(person) == []  # nobody else is in it


@pytest.mark.parametrize("gone", [{"suspended_at": "2026-01-01T00:00Z"}, {"user__is_active": False}])
def test_an_owner_who_cannot_enter_is_none(gone, person):
    place = shared(person, role=Role.OWNER)
    if "suspended_at" in gone:
        Membership.objects.filter(pk=place.pk).update(**gone)
    else:
        User.objects.filter(pk=place.user_id).update(is_active=False)
    assert len(held_workspaces(person)) == 1


def test_a_closed_workspace_holds_nobody(person):
    place = shared(person)
    Tenant.objects.filter(pk=place.tenant_id).update(deleted_at="2026-01-01T00:00Z")
    assert held_workspaces(person) == []


def test_a_workspace_that_nobody_is_left_in_is_closed(known, person):
    place = shared(person)
    Membership.objects.filter(pk=place.pk).delete()
    known.post(PATH)
    assert Tenant.objects.get(pk=place.tenant_id).deleted_at is not None
    assert Tenant.objects.get(personal=True).deleted_at is None
