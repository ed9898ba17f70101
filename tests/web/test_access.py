"""Every page and endpoint, tried by owner, member, stranger and anonymous."""

from __future__ import annotations

import uuid

import pytest
from django.test import Client

from accounts.models import Role
from tests.factories import AnswerFactory, ConversationFactory, MembershipFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation(member):
    conversation = ConversationFactory(membership=member)
    AnswerFactory(conversation=conversation)
    return conversation


@pytest.fixture
def colleague(member):
    """A plain member of the owner's workspace."""
    return MembershipFactory(tenant=member.tenant, role=Role.MEMBER)


def pages(slug, conversation_id):
    return [f"/w/{slug}/chat/", f"/w/{slug}/chat/{conversation_id}/", f"/w/{slug}/reports/"]


def endpoints(slug, conversation_id):
    base = f"/api/v1/w/{slug}/conversations/"
    return [base, f"{base}{conversation_id}/"]


def test_the_owner_sees_everything_of_their_own(member, conversation, client_of, transport):
    slug = member.tenant.slug
    for path in pages(slug, conversation.pk) + endpoints(slug, conversation.pk):
        assert client_of(member).get(path).status_code == 200, path


def test_a_colleague_sees_the_workspace_but_not_the_conversation_nor_the_reports(
    colleague, conversation, client_of, transport
):
    slug, client = colleague.tenant.slug, client_of(colleague)
    codes = [client.get(path).status_code for path in pages(slug, conversation.pk)]
    assert codes == [200, 404, 403]
    listed, detail = (client.get(path) for path in endpoints(slug, conversation.pk))
    assert (listed.json()["results"], detail.status_code) == ([], 404)


def test_a_stranger_gets_the_same_answer_as_for_what_does_not_exist(stranger, conversation, client_of, transport):
    client, slug = client_of(stranger), conversation.tenant.slug
    nowhere = uuid.uuid4()
    for real, missing in zip(pages(slug, conversation.pk), pages("nowhere", nowhere), strict=True):
        ours, theirs = client.get(real), client.get(missing)
        assert ours.status_code == theirs.status_code == 404
        assert _without_nonce(ours) == _without_nonce(theirs)
    for real, missing in zip(endpoints(slug, conversation.pk), endpoints("nowhere", nowhere), strict=True):
        ours, theirs = client.get(real), client.get(missing)
        assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)


def test_a_strangers_id_in_ones_own_workspace_answers_as_a_missing_one(stranger, conversation, client_of, transport):
    client, slug = client_of(stranger), stranger.tenant.slug
    for method in ("get", "patch", "delete"):
        call = getattr(client, method)
        real = call(f"/api/v1/w/{slug}/conversations/{conversation.pk}/", content_type="application/json")
        missing = call(f"/api/v1/w/{slug}/conversations/{uuid.uuid4()}/", content_type="application/json")
        assert (real.status_code, real.content) == (404, missing.content)
    conversation.refresh_from_db(from_queryset=type(conversation).everyone.all())
    assert conversation.deleted_at is None


def test_anonymous_people_are_sent_to_log_in_and_programs_get_401(conversation):
    client, slug = Client(), conversation.tenant.slug
    for path in pages(slug, conversation.pk):
        response = client.get(path)
        assert (response.status_code, response.url) == (302, f"/accounts/login/?next={path}")
    for path in [*endpoints(slug, conversation.pk), "/api/v1/me/preferences/"]:
        response = client.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "not_authenticated")


def test_settings_are_for_people_who_are_logged_in(member, client_of, transport):
    for path in ("/settings/", "/settings/personalization/", "/settings/usage/"):
        assert Client().get(path).status_code == 302
        assert client_of(member).get(path).status_code == 200


def _without_nonce(response):
    import re

    return re.sub(rb'nonce="[^"]*"|content="[A-Za-z0-9]{64}"|value="[A-Za-z0-9]{64}"', b"", response.content)
