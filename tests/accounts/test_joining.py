"""Ways into a workspace: opened by those who may, gone through once and with consent, closed when they are to be."""

from __future__ import annotations

import re
import threading
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.core import mail, signing
from django.db import connection
from django.utils import timezone

from accounts.inviting import (
    add_domain,
    create_link,
    invite_people,
    remove_domain,
    resend_invitation,
    revoke_invitation,
    revoke_link,
)
from accounts.joining import (
    accept_invitation,
    decline_invitation,
    find_offers,
    join_by_domain,
    join_by_link,
)
from accounts.models import AuditEvent, Invitation, InviteLink, Membership, Role
from accounts.models.people import WhoInvites
from accounts.scoping import all_tenants, tenant_scope
from chatapp.common.errors import BadRequest, Forbidden, NotFound
from tests.factories import MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = re.compile(r"/join/(\S+?)/")


@pytest.fixture(autouse=True)
def scope(member, settings):
    settings.CELERY_TASK_ALWAYS_EAGER = True
    with tenant_scope(member.tenant_id):
        yield


def invite(by, email="new@example.com", **fields) -> Invitation:
    (invitation,) = invite_people(by=by, emails=[email], **fields)
    return invitation


def person(email, *, verified=True):
    user = UserFactory(email=email)
    EmailAddress.objects.create(user=user, email=email, primary=True, verified=verified)
    return user


def in_role(member, role):
    return MembershipFactory(tenant=member.tenant, role=role)


def acts():
    return list(AuditEvent.objects.order_by("at", "id").values_list("act", flat=True))


def test_an_invitation_is_mailed_with_a_link_that_finds_it(member):
    invitation = invite(member)
    (message,) = mail.outbox
    assert message.to == ["new@example.com"]
    assert member.tenant.name in message.subject
    assert member.user.email in message.body
    assert Invitation.find(ADDRESS.search(message.body)[1]) == invitation


def test_addresses_are_invited_once_however_they_are_written(member):
    inside = in_role(member, Role.MEMBER).user.email
    emails = ["A@example.com", " a@EXAMPLE.com ", inside.upper(), "b@example.com"]
    made = invite_people(by=member, emails=emails)
    assert [invitation.email for invitation in made] == ["a@example.com", "b@example.com"]
    assert invite_people(by=member, emails=emails) == []
    assert len(mail.outbox) == 2


def test_who_takes_it_up_is_in_once(member):
    invitation, user = invite(member, role=Role.ANALYST), person("new@example.com", verified=False)
    joined = accept_invitation(user=user, invitation=Invitation.find(invitation.token))
    assert (joined.role, joined.tenant) == (Role.ANALYST, member.tenant)
    assert EmailAddress.objects.get(user=user).verified  # they read the mail
    with pytest.raises(BadRequest):
        accept_invitation(user=user, invitation=invitation)
    assert acts() == ["invitation.created", "member.joined", "invitation.accepted"]


def test_two_who_take_it_up_at_once_do_not_both_join(member):
    invitation = invite(member)
    users = [person("new@example.com"), UserFactory()]
    EmailAddress.objects.create(user=users[1], email="new@example.com", verified=False)
    results = []

    def accept(user):
        try:
            results.append(accept_invitation(user=user, invitation=invitation))
        except (BadRequest, Forbidden):
            results.append(None)
        finally:
            connection.close()

    threads = [threading.Thread(target=accept, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result is not None for result in results) == 1


def test_it_is_for_its_address_alone(member):
    invitation, other = invite(member), person("other@example.com")
    with pytest.raises(Forbidden, match=r"new@example\.com"):
        accept_invitation(user=other, invitation=invitation)
    assert not Membership.objects.filter(user=other, tenant=member.tenant).exists()


def test_without_its_mail_an_address_that_is_not_proven_does_not_count(member):
    invitation, user = invite(member), person("new@example.com", verified=False)
    assert find_offers(user).invitations == []
    with pytest.raises(Forbidden):
        accept_invitation(user=user, invitation=invitation, by_token=False)


def test_a_person_who_is_known_is_offered_it_and_may_turn_it_down(member):
    invitation, user = invite(member), person("New@example.com".lower())
    assert find_offers(user).invitations == [invitation]
    decline_invitation(user=user, invitation=invitation)
    assert find_offers(user).invitations == []
    with pytest.raises(BadRequest):
        accept_invitation(user=user, invitation=invitation)
    with pytest.raises(NotFound):
        decline_invitation(user=UserFactory(), invitation=invite(member))


def test_sent_again_it_has_a_new_link_and_the_old_one_ends(member):
    invitation = invite(member)
    with pytest.raises(BadRequest, match="a moment ago"):
        resend_invitation(by=member, invitation_id=invitation.pk)
    Invitation.objects.update(sent_at=timezone.now() - timedelta(hours=1), expires_at=timezone.now())
    old = invitation.token
    again = resend_invitation(by=member, invitation_id=invitation.pk)
    assert (Invitation.find(old), Invitation.find(again.token)) == (None, again)
    assert again.state == "open"
    assert Invitation.find(ADDRESS.search(mail.outbox[1].body)[1]) == again


def test_taken_back_it_lets_nobody_in(member):
    invitation = invite(member)
    revoke_invitation(by=member, invitation_id=invitation.pk)
    assert Invitation.find(invitation.token).state == "revoked"
    with pytest.raises(BadRequest):
        accept_invitation(user=person("new@example.com"), invitation=invitation)
    with pytest.raises(NotFound):
        resend_invitation(by=member, invitation_id=invitation.pk)


def test_it_expires_and_the_address_can_be_invited_again(member):
    invitation = invite(member)
    Invitation.objects.update(expires_at=timezone.now())
    with pytest.raises(BadRequest):
        accept_invitation(user=person("new@example.com"), invitation=invitation)
    assert invite(member).pk != invitation.pk


@pytest.mark.parametrize("token", ["", "x", "a:b:c", "é", signing.dumps(["zz", 0], salt="accounts.invitation")])
def test_what_is_no_token_of_ours_finds_nothing(member, token):
    assert Invitation.find(token) is None
    assert InviteLink.find(token) is None


def test_a_link_is_not_an_invitation(member):
    link, invitation = create_link(by=member), invite(member)
    assert (Invitation.find(link.token), InviteLink.find(invitation.token)) == (None, None)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.ANALYST])
def test_members_invite_members_where_the_workspace_lets_them(member, role):
    caller = in_role(member, role)
    with pytest.raises(Forbidden):
        invite(caller)
    caller.tenant.who_invites = WhoInvites.MEMBERS
    mine = invite(caller)
    with pytest.raises(Forbidden):
        invite(caller, "more@example.com", role=Role.ADMIN)
    others = invite(member, "others@example.com")
    revoke_invitation(by=caller, invitation_id=mine.pk)
    with pytest.raises(NotFound):
        revoke_invitation(by=caller, invitation_id=others.pk)


@pytest.mark.parametrize("role", [Role.OWNER, "", "root", "OWNER"])
def test_nobody_becomes_an_owner_by_a_door(member, role):
    for open_way in (lambda: invite(member, role=role), lambda: create_link(by=member, role=role)):
        with pytest.raises(BadRequest):
            open_way()


def test_admins_invite_admins_and_not_in_another_workspace(member, stranger):
    admin = in_role(member, Role.ADMIN)
    invitation = invite(admin, role=Role.ADMIN)
    with tenant_scope(stranger.tenant_id), pytest.raises(NotFound):
        revoke_invitation(by=stranger, invitation_id=invitation.pk)


def test_a_link_lets_as_many_in_as_it_is_for(member):
    link = create_link(by=member, role=Role.MEMBER, limit=2)
    users = [UserFactory() for _ in range(3)]
    assert join_by_link(user=users[0], link=link).role == Role.MEMBER
    join_by_link(user=users[0], link=link)  # again: they are in, and it costs nothing
    join_by_link(user=users[1], link=link)
    with pytest.raises(BadRequest):
        join_by_link(user=users[2], link=link)
    link.refresh_from_db()
    assert (link.used, link.state) == (2, "full")


def test_a_link_that_is_taken_back_or_old_lets_nobody_in(member):
    back, old = create_link(by=member), create_link(by=member)
    revoke_link(by=member, link_id=back.pk)
    InviteLink.objects.filter(pk=old.pk).update(expires_at=timezone.now())
    for link in (back, old):
        with pytest.raises(BadRequest):
            join_by_link(user=UserFactory(), link=link)


def test_a_crowd_at_a_link_does_not_pass_its_limit(member):
    link = create_link(by=member, limit=3)
    results = []

    def join(user):
        try:
            results.append(join_by_link(user=user, link=link))
        except BadRequest:
            results.append(None)
        finally:
            connection.close()

    threads = [threading.Thread(target=join, args=(UserFactory(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result is not None for result in results) == 3
    assert Membership.objects.filter(tenant=member.tenant).count() == 4


def test_who_was_suspended_does_not_come_back_by_an_open_door(member):
    out = in_role(member, Role.ADMIN)
    Membership.objects.filter(pk=out.pk).update(suspended_at=timezone.now())
    joined = join_by_link(user=out.user, link=create_link(by=member))
    assert (joined.pk, joined.suspended_at is None) == (out.pk, False)


def test_people_of_a_domain_join_by_themselves_once_their_address_is_proven(member):
    EmailAddress.objects.create(user=member.user, email="boss@acme.example", verified=True)
    domain = add_domain(by=member, name="@Acme.Example", role=Role.ANALYST)
    ana, eve = person("ana@acme.example"), person("eve@acme.example", verified=False)
    assert find_offers(ana).domains == [domain]
    assert join_by_domain(user=ana, domain=domain).role == Role.ANALYST
    assert find_offers(ana).domains == []
    assert find_offers(eve).domains == []
    for outside in (eve, person("x@sub.acme.example"), person("x@notacme.example")):
        with pytest.raises(NotFound):
            join_by_domain(user=outside, domain=domain)
    remove_domain(by=member, domain_id=domain.pk)
    assert find_offers(person("late@acme.example")).domains == []
    assert Membership.objects.filter(user=ana, tenant=member.tenant).exists()


@pytest.mark.parametrize(
    "name", ["gmail.com", "GMAIL.com", "example", "a b.com", "-a.com", "a..com", "", "x" * 200 + ".com"]
)
def test_a_domain_has_to_be_an_organisations(member, name):
    EmailAddress.objects.create(user=member.user, email=f"me@{name.lower()}", verified=True)
    with pytest.raises(BadRequest):
        add_domain(by=member, name=name)


def test_a_domain_is_claimed_by_whoever_is_there_and_once(member, stranger):
    with pytest.raises(Forbidden, match=r"acme\.example"):
        add_domain(by=member, name="acme.example")
    for membership in (member, stranger):
        EmailAddress.objects.create(user=membership.user, email=f"{membership.pk}@acme.example", verified=True)
    add_domain(by=member, name="acme.example")
    with tenant_scope(stranger.tenant_id), pytest.raises(BadRequest, match="already"):
        add_domain(by=stranger, name="acme.example")


def test_a_workspace_that_is_closed_has_no_doors(member):
    invitation, link = invite(member), create_link(by=member)
    member.tenant.deleted_at = timezone.now()
    member.tenant.save(update_fields=["deleted_at"])
    assert (Invitation.find(invitation.token), InviteLink.find(link.token)) == (None, None)
    assert find_offers(person("new@example.com")).invitations == []
    with all_tenants():
        assert Invitation.objects.count() == 1
