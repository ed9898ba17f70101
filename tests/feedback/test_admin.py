"""The platform admin sees every tenant's ratings and changes none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import Membership, User
from chatapp.chat.models import Message
from feedback.models import DailyRating, Rating

Ended = Callable[..., Message]


@pytest.fixture
def admin(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("admin@example.com", "correct horse battery"))
    return client


def test_ratings_of_every_tenant_are_listed_and_filtered(
    admin: Client, member: Membership, stranger: Membership, ended: Ended, roll_up: Callable[[], int]
) -> None:
    ended(member, value=1, comment="Thank you", reasons=["clear"])
    ended(stranger, value=-1, comment="Too slow", model="large")
    roll_up()

    def listed(**query: str) -> list[str]:
        found = admin.get("/admin/feedback/rating/", query).context["cl"].queryset
        return sorted(found.values_list("comment", flat=True))

    assert listed() == ["Thank you", "Too slow"]
    assert listed(value__exact="1") == ["Thank you"]
    assert listed(model="large") == ["Too slow"]
    assert listed(q="slow") == ["Too slow"]


def test_a_rating_is_shown_in_words_and_cannot_be_changed(admin: Client, member: Membership, ended: Ended) -> None:
    ended(member, value=-1, comment="No", reasons=["too_long", "style"])
    address = f"/admin/feedback/rating/{Rating.everyone.get().pk}/change/"
    assert "Too long, Style or tone" in admin.get(address).content.decode()
    assert admin.post(address, {"comment": "Yes"}).status_code == 403
    assert admin.post(address.replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert Rating.everyone.get().comment == "No"


def test_roll_ups_show_approval_with_its_interval(
    admin: Client, member: Membership, ended: Ended, roll_up: Callable[[], int]
) -> None:
    for value in (1, 1, 1, -1, None):
        ended(member, value=value)
    roll_up()
    text = admin.get("/admin/feedback/dailyrating/").content.decode()
    assert all(words in text for words in ("75%", "30–95%", "80%"))
    assert admin.get("/admin/feedback/dailyrating/add/").status_code == 403
    address = f"/admin/feedback/dailyrating/{DailyRating.everyone.get().pk}/change/"
    assert "30–95%" in admin.get(address).content.decode()
