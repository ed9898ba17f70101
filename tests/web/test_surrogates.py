"""JSON can name half a character, which no database can store: REST refuses it and names the field."""

from __future__ import annotations

import pytest

from accounts.models import Preferences
from feedback.models import Rating
from tests.factories import ConversationFactory, GenerationFactory

pytestmark = pytest.mark.django_db(transaction=True)

HALVES = [r"a \ud83d b", r"\udc00", r"\udc00\ud83d"]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("field", ["display_name", "about", "style"])
def test_a_preference(member, client_of, field, half):
    body = f'{{"{field}": "{half}"}}'
    response = client_of(member).patch("/api/v1/me/preferences/", body, content_type="application/json")
    assert (response.status_code, list(response.json()["error"]["fields"])) == (400, [field])
    assert not Preferences.objects.exists()


@pytest.mark.parametrize("half", HALVES)
def test_a_title(member, client_of, half):
    conversation = ConversationFactory(membership=member, title="As it was")
    path = f"/api/v1/w/{member.tenant.slug}/conversations/{conversation.pk}/"
    response = client_of(member).patch(path, f'{{"title": "{half}"}}', content_type="application/json")
    assert (response.status_code, list(response.json()["error"]["fields"])) == (400, ["title"])
    conversation.refresh_from_db()
    assert conversation.title == "As it was"


@pytest.mark.parametrize("half", HALVES)
def test_a_comment(member, client_of, half):
    generation = GenerationFactory(message__conversation=ConversationFactory(membership=member))
    path = f"/api/v1/w/{member.tenant.slug}/messages/{generation.message_id}/rating/"
    response = client_of(member).put(path, f'{{"value": -1, "comment": "{half}"}}', content_type="application/json")
    assert (response.status_code, list(response.json()["error"]["fields"])) == (400, ["comment"])
    assert not Rating.everyone.exists()
