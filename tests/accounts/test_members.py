"""What becomes of members: roles, suspension, the end, and a workspace that always has an owner."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from accounts.members import (
    change_role,
    leave_workspace,
    remove_member,
    restore_member,
    suspend_member,
    transfer_workspace,
)
from accounts.models import ApiKey, AuditEvent, Membership, Role, Tenant
from accounts.models.people import LEAST_ROLE, Act
from accounts.permissions import get_membership, require
from accounts.scoping import tenant_scope
from chatapp.common.errors import BadRequest, Forbidden, NotFound
from tests.factories import ApiKeyFactory, MembershipFactory

pytestmark = pytest.mark.django_db(transaction=True)
ROLES = (Role.OWNER, Role.ADMIN, Role.ANALYST, Role.MEMBER)


@pytest.fixture(autouse=True)
def scope(member):
    with tenant_scope(member.tenant_id):
        yield


@pytest.fixture
def people(member):
    """One of every role in one workspace, by role; ``member`` is its owner."""
    return {Role.OWNER: member} | {role: MembershipFactory(tenant=member.tenant, role=role) for role in ROLES[1:]}


@pytest.mark.parametrize("act", list(Act))
def test_each_act_is_open_to_its_role_and_those_above(people, act):
    may = [role for role in ROLES if people[role].can(act)]
    assert may == list(ROLES[: ROLES.index(LEAST_ROLE[act]) + 1])
    for role in ROLES[len(may) :]:
        with pytest.raises(Forbidden):
            require(people[role], act)


def test_admins_change_all_but_owners_and_others_nobody(people):
    for role in (Role.ANALYST, Role.MEMBER):
        with pytest.raises(Forbidden):
            change_role(by=people[role], member_id=people[Role.MEMBER].pk, role=Role.ANALYST)
    admin = people[Role.ADMIN]
    assert change_role(by=admin, member_id=people[Role.MEMBER].pk, role=Role.ADMIN).role == Role.ADMIN
    for change in (
        lambda: change_role(by=admin, member_id=people[Role.OWNER].pk, role=Role.MEMBER),
        lambda: change_role(by=admin, member_id=people[Role.MEMBER].pk, role=Role.OWNER),
        lambda: suspend_member(by=admin, member_id=people[Role.OWNER].pk),
        lambda: remove_member(by=admin, member_id=people[Role.OWNER].pk),
        lambda: transfer_workspace(by=admin, member_id=admin.pk),
    ):
        with pytest.raises(Forbidden):
            change()


def test_members_of_another_workspace_are_nobody(people, stranger):
    for change in (suspend_member, restore_member, remove_member):
        with pytest.raises(NotFound):
            change(by=people[Role.OWNER], member_id=stranger.pk)
    with pytest.raises(NotFound):
        transfer_workspace(by=people[Role.OWNER], member_id=stranger.pk)


def test_who_is_suspended_is_out_until_they_are_restored(people):
    owner, someone = people[Role.OWNER], people[Role.MEMBER]
    key = ApiKeyFactory(membership=someone)
    suspend_member(by=owner, member_id=someone.pk)
    with pytest.raises(NotFound):
        get_membership(someone.user, someone.tenant.slug)
    assert ApiKey.find(key.secret).member_is_active is False
    assert list(Tenant.objects.of(someone.user)) == []
    restore_member(by=owner, member_id=someone.pk)
    assert get_membership(someone.user, someone.tenant.slug) == someone
    assert ApiKey.find(key.secret).member_is_active is True


def test_who_is_removed_is_out_with_their_keys(people):
    someone = people[Role.ANALYST]
    key = ApiKeyFactory(membership=someone)
    remove_member(by=people[Role.ADMIN], member_id=someone.pk)
    assert not Membership.objects.filter(pk=someone.pk).exists()
    assert ApiKey.find(key.secret) is None
    event = AuditEvent.objects.get(act="member.removed")
    assert event.before == {"role": "analyst", "user": str(someone.user_id)}


def test_nobody_suspends_or_removes_themselves(people):
    for change in (suspend_member, remove_member):
        with pytest.raises(BadRequest):
            change(by=people[Role.ADMIN], member_id=people[Role.ADMIN].pk)


def test_the_last_owner_stays_until_there_is_another(people):
    owner, admin = people[Role.OWNER], people[Role.ADMIN]
    for change in (
        lambda: leave_workspace(membership=owner),
        lambda: change_role(by=owner, member_id=owner.pk, role=Role.ADMIN),
    ):
        with pytest.raises(BadRequest, match="needs an owner"):
            change()
    change_role(by=owner, member_id=admin.pk, role=Role.OWNER)
    leave_workspace(membership=owner)
    admin.refresh_from_db()
    assert admin.role == Role.OWNER
    with pytest.raises(BadRequest):
        leave_workspace(membership=admin)


def test_an_owner_who_is_suspended_does_not_count(people):
    owner = people[Role.OWNER]
    other = MembershipFactory(tenant=owner.tenant, role=Role.OWNER)
    suspend_member(by=owner, member_id=other.pk)
    with pytest.raises(BadRequest):
        leave_workspace(membership=owner)


def test_two_owners_who_leave_at_once_do_not_both_go(people):
    owners = [people[Role.OWNER], MembershipFactory(tenant=people[Role.OWNER].tenant, role=Role.OWNER)]

    def leave(membership):
        try:
            leave_workspace(membership=membership)
        except BadRequest:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=leave, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Membership.objects.filter(tenant=owners[0].tenant, role=Role.OWNER).count() == 1


def test_a_workspace_is_handed_on(people):
    owner, heir = people[Role.OWNER], people[Role.MEMBER]
    transfer_workspace(by=owner, member_id=heir.pk)
    heir.refresh_from_db()
    owner.refresh_from_db()
    assert (heir.role, owner.role) == (Role.OWNER, Role.ADMIN)


@pytest.mark.parametrize("role", ["", "root", "Owner", "member "])
def test_a_role_that_is_none_is_refused(people, role):
    with pytest.raises(BadRequest):
        change_role(by=people[Role.OWNER], member_id=people[Role.MEMBER].pk, role=role)
