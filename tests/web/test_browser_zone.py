"""A page's days are its reader's; quotas and the admin stay in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import time_machine
from django.utils import timezone

from accounts.models import User
from accounts.quotas import today
from chatapp.chat.models import Conversation
from chatapp.web.middleware import BrowserZoneMiddleware
from tests.factories import ConversationFactory

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)  # half past seven in the evening of the first of March in New York


def groups(client, membership, zone=None):
    if zone is not None:
        client.cookies["tz"] = zone
    page = client.get(f"/w/{membership.tenant.slug}/chat/")
    return [(group["label"], len(group["conversations"])) for group in page.context["conversation_groups"]]


def written(membership, *times):
    for at in times:
        conversation = ConversationFactory(membership=membership)
        Conversation.everyone.filter(pk=conversation.pk).update(updated_at=at)


@pytest.mark.parametrize(
    ("zone", "wanted"),
    [
        (None, [("Today", 1), ("Yesterday", 2)]),
        ("UTC", [("Today", 1), ("Yesterday", 2)]),
        ("America/New_York", [("Today", 2), ("Yesterday", 1)]),
        ("Asia/Tokyo", [("Today", 2), ("Yesterday", 1)]),
        ("Asia/Calcutta", [("Today", 2), ("Yesterday", 1)]),  # an old name that browsers still tell
        ("Pacific/Kiritimati", [("Today", 2), ("Yesterday", 1)]),
        ("../../../etc/passwd", [("Today", 1), ("Yesterday", 2)]),
        ("Nowhere/City", [("Today", 1), ("Yesterday", 2)]),
        ("x" * 3000, [("Today", 1), ("Yesterday", 2)]),
        ("", [("Today", 1), ("Yesterday", 2)]),
    ],
)
def test_conversations_are_grouped_by_the_readers_days(member, client_of, transport, zone, wanted):
    written(member, NOW, datetime(2026, 3, 1, 23, 45, tzinfo=UTC), datetime(2026, 3, 1, 2, 0, tzinfo=UTC))
    with time_machine.travel(NOW, tick=False):
        assert groups(client_of(member), member, zone) == wanted
    assert timezone.get_current_timezone_name() == "UTC"


def test_days_of_quotas_do_not_follow_the_reader(member, client_of, transport):
    client = client_of(member)
    client.cookies["tz"] = "America/New_York"
    with time_machine.travel(NOW, tick=False):
        page = client.get("/settings/usage/")
        assert page.context["days"][0]["day"] == today() == NOW.date()
        assert page.context["usage"].resets_at == datetime(2026, 3, 3, tzinfo=UTC)
    assert "Today (UTC)" in page.content.decode()


@pytest.mark.parametrize(("path", "zone"), [("/admin/", "UTC"), ("/settings/", "Asia/Tokyo")])
def test_the_admin_is_in_utc(rf, path, zone):
    request = rf.get(path)
    request.COOKIES["tz"] = "Asia/Tokyo"
    request.user = User()
    assert BrowserZoneMiddleware(lambda _: timezone.get_current_timezone_name())(request) == zone
