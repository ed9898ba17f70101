"""Logins as sockets hold them: found in one query while they last, and not after."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, User
from chatapp.web.login_watch import Login

pytestmark = pytest.mark.django_db


def login_of(member):
    client = Client()
    client.force_login(member.user)
    return Login.of(member, client.session.session_key)


def test_a_login_that_holds_is_found_in_one_query(member, django_assert_num_queries):
    login = login_of(member)
    with django_assert_num_queries(1):
        found = login.find_membership()
    assert (found, found.tenant.plan, found.user.preferences.theme) == (member, member.tenant.plan, "auto")


@pytest.mark.parametrize(
    "end",
    [
        lambda member: Session.objects.all().delete(),
        lambda member: Session.objects.update(expire_date=timezone.now()),
        lambda member: User.objects.update(is_active=False),
        lambda member: User.objects.update(password="another"),
        lambda member: Membership.objects.filter(pk=member.pk).delete(),
    ],
)
def test_no_login_is_found_that_has_ended(member, end):
    login = login_of(member)
    end(member)
    assert login.find_membership() is None
