"""Workspaces are made, changed, closed, brought back within their grace, and then gone with all that is in them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEvent, Membership, Role, Tenant
from accounts.models.people import WhoInvites
from accounts.permissions import get_membership
from accounts.scoping import all_tenants, tenant_scope
from accounts.workspaces import (
    SETTINGS,
    change_workspace,
    close_workspace,
    closed_workspaces,
    create_workspace,
    purge_workspaces,
    reopen_workspace,
)
from chatapp.chat.erasing import go_on_erasing
from chatapp.chat.models import Conversation
from chatapp.common.errors import BadRequest, Forbidden, NotFound
from tests.factories import ConversationFactory, MembershipFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def scope(member):
    with tenant_scope(member.tenant_id):
        yield


def test_a_person_owns_the_workspaces_they_make_up_to_a_number(member, free_plan, settings):
    settings.CHATAPP_WORKSPACES_PER_PERSON = 3  # the one they are in is theirs
    made = [create_workspace(user=member.user, name=name) for name in ("  Acme\nInc ", "Acme Inc")]
    assert [(place.tenant.name, place.role, place.tenant.personal) for place in made] == [
        ("Acme Inc", "owner", False)
    ] * 2
    assert made[0].tenant.slug != made[1].tenant.slug
    with pytest.raises(Forbidden):
        create_workspace(user=member.user, name="More")


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "\u202e\n"])
def test_a_workspace_has_a_name(member, name):
    with pytest.raises(BadRequest) as refused:
        create_workspace(user=member.user, name=name)
    assert set(refused.value.fields) == {"name"}


def test_settings_are_saved_and_told_to_the_log_without_what_people_wrote(member):
    change_workspace(
        by=member,
        name="New",
        accent="#102030",
        welcome="Hello",
        starters=["One", "Two"],
        who_invites=WhoInvites.MEMBERS,
    )
    tenant = Tenant.objects.get(pk=member.tenant_id)
    assert (tenant.name, tenant.accent, tenant.starters) == ("New", "#102030", ["One", "Two"])
    event = AuditEvent.objects.get(act="workspace.changed")
    assert event.after["accent"] == "#102030"
    assert event.after["who_invites"] == "members"
    assert event.after["welcome"] == event.after["name"] == "(a text)"


def test_what_does_not_change_is_not_told(member):
    change_workspace(by=member, accent=member.tenant.accent)
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("accent", "red"),
        ("accent", "#12345"),
        ("welcome", "x" * 301),
        ("starters", ["a", "b", "c", "d", "e"]),
        ("starters", [""]),
        ("starters", "words"),
        ("starters", [1]),
        ("starters", ["x" * 121]),
        ("allowed_models", ["a", "a"]),
        ("allowed_models", {"a": 1}),
        ("instructions", "x" * 1501),
        ("retention_days", 0),
        ("retention_days", "soon"),
        ("who_invites", "nobody"),
        ("collects_feedback", "perhaps"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(member, field, value):
    with pytest.raises(BadRequest) as refused:
        change_workspace(by=member, **{field: value})
    assert set(refused.value.fields) == {field}


@pytest.mark.parametrize("role", [Role.ANALYST, Role.MEMBER])
def test_settings_are_for_owners_and_admins(member, role):
    with pytest.raises(Forbidden):
        change_workspace(by=MembershipFactory(tenant=member.tenant, role=role), name="Mine")


def test_every_setting_is_a_field_of_the_workspace():
    assert set(SETTINGS) <= {field.name for field in Tenant._meta.fields}


def test_a_workspace_is_closed_by_its_name_and_brought_back_by_its_owner(member):
    with pytest.raises(BadRequest):
        close_workspace(by=member, name="Other")
    colleague = MembershipFactory(tenant=member.tenant, role=Role.ADMIN)
    with pytest.raises(Forbidden):
        close_workspace(by=colleague, name=member.tenant.name)
    close_workspace(by=member, name=member.tenant.name)
    for someone in (member, colleague):
        with pytest.raises(NotFound):
            get_membership(someone.user, member.tenant.slug)
    assert closed_workspaces(member.user) == [member.tenant]
    assert closed_workspaces(colleague.user) == []
    with pytest.raises(NotFound):
        reopen_workspace(user=colleague.user, tenant_id=member.tenant_id)
    reopen_workspace(user=member.user, tenant_id=member.tenant_id)
    assert get_membership(colleague.user, member.tenant.slug) == colleague


def test_after_its_grace_it_is_gone_with_all_that_is_in_it(member, stranger):
    ConversationFactory(membership=member)
    ConversationFactory(membership=stranger)
    close_workspace(by=member, name=member.tenant.name)
    assert purge_workspaces(days=30) == 0
    Tenant.objects.filter(pk=member.tenant_id).update(deleted_at=timezone.now() - timedelta(days=31))
    assert [purge_workspaces(days=30) for _ in range(2)] == [1, 0]
    with pytest.raises(NotFound):
        reopen_workspace(user=member.user, tenant_id=member.tenant_id)
    with all_tenants():
        go_on_erasing()
        assert not Tenant.objects.filter(pk=member.tenant_id).exists()
        assert Conversation.objects.count() == 1
    assert not Membership.objects.filter(user=member.user).exists()
    assert list(AuditEvent.objects.order_by("at").values_list("act", flat=True)) == [
        "workspace.deleted",
        "workspace.purged",
    ]
