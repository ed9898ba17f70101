"""Answers of whoever may no longer have them: stopped within seconds, whatever took it from them."""

from __future__ import annotations

import uuid

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Membership, Tenant, User
from accounts.scoping import tenant_scope
from chatapp.chat import tasks
from chatapp.chat.api_calls import start_call
from chatapp.chat.asking import send_message
from inference.messages import ChatMessage, Sampling
from tests.factories import ApiKeyFactory, MembershipFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("free_plan", "no_titles")]
PROMISED_SECONDS = 5


def suspend(member):
    User.objects.filter(pk=member.user_id).update(is_active=False)


def remove(member):
    Membership.objects.filter(pk=member.pk).delete()


def suspend_workspace(member):
    Tenant.objects.filter(pk=member.tenant_id).update(is_active=False)


def forbid_the_model(member):
    Tenant.objects.filter(pk=member.tenant_id).update(allowed_models=["another"])


def ask(member):
    with tenant_scope(member.tenant_id):
        return send_message(membership=member, text="What is it?", key=uuid.uuid4(), model="test")


def call(member):
    key = ApiKeyFactory(membership=member)
    with tenant_scope(member.tenant_id):
        asked = {"messages": (ChatMessage("user", "hi"),), "sampling": Sampling(max_tokens=8), "model": "test"}
        start_call(key=ApiKey.find(key.secret), **asked)
    return key


@pytest.mark.parametrize("shut_out", [suspend, remove, suspend_workspace, forbid_the_model])
@pytest.mark.parametrize("begin", [ask, call])
@pytest.mark.parametrize("is_running", [True, False])
def test_what_is_being_written_is_stopped_and_others_go_on(member, transport, hand, shut_out, begin, is_running):
    other = MembershipFactory()
    begin(member)
    job = hand.take() if is_running else None
    ask(other)
    shut_out(member)
    tasks.stop()
    cancelled = transport.renew("w1").cancelled
    assert cancelled == ({job.id} if is_running else frozenset())
    assert len(transport.live()) == (2 if is_running else 1)
    tasks.stop()
    assert len(transport.live()) == (2 if is_running else 1)


def test_a_list_of_models_stops_no_answer_of_one_that_is_on_it(member, transport):
    ask(member)
    Tenant.objects.filter(pk=member.tenant_id).update(allowed_models=["another", "test"])
    tasks.stop()
    assert len(transport.live()) == 1


def test_calls_with_a_revoked_key_are_stopped_and_those_with_another_go_on(member, transport):
    revoked, _ = call(member), call(member)
    ApiKey.everyone.filter(pk=revoked.pk).update(revoked_at=timezone.now())
    tasks.stop()
    assert len(transport.live()) == 1


def test_it_is_looked_at_so_often_that_the_promise_holds():
    planned = settings.CELERY_BEAT_SCHEDULE["stop-unwanted"]
    assert planned["task"] == tasks.stop.name
    assert planned["schedule"] + 1 < PROMISED_SECONDS


def test_an_admin_suspends_a_workspace_and_nobody_gets_in_until_it_is_active_again(member, client_of, transport):
    staff = Client()
    staff.force_login(User.objects.create_superuser("admin@example.com", "a quiet green kettle"))
    address = f"/admin/accounts/tenant/{member.tenant_id}/change/"
    browser, key = client_of(member), ApiKeyFactory(membership=member)
    for is_active, status in ((False, 404), (True, 200)):
        form = staff.get(address).context["adminform"].form
        data = {name: form.initial.get(name) or "" for name in form.fields} | {"plan": member.tenant.plan_id}
        data |= {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
        data |= {f"initial-{name}": value for name, value in data.items() if name in form.fields}
        data["is_active"] = "on" if is_active else ""
        data["initial-is_active"] = "" if is_active else "on"
        assert staff.post(address, {name: value for name, value in data.items() if value != ""}).status_code == 302
        assert browser.get(member.tenant.get_absolute_url()).status_code == status
        assert ApiKey.find(key.secret).member_is_active == is_active
