"""Preferences over REST."""

from __future__ import annotations

import pytest

from accounts.models import Preferences

pytestmark = pytest.mark.django_db
URL = "/api/v1/me/preferences/"


def patch(client, **data):
    return client.patch(URL, data, content_type="application/json")


def test_a_person_reads_defaults_and_changes_one_field_at_a_time(member, client_of):
    client = client_of(member)
    defaults = {"display_name": "", "theme": "auto", "default_model": "", "about": "", "style": ""}
    assert client.get(URL).json() == defaults
    assert patch(client, theme="dark").json() == {**defaults, "theme": "dark"}
    assert patch(client, about="I teach maths.").json() == {
        **defaults,
        "theme": "dark",
        "about": "I teach maths.",
    }
    assert Preferences.objects.get(user=member.user).about == "I teach maths."


def test_bad_values_are_named_and_nothing_is_saved(member, client_of):
    response = patch(client_of(member), theme="purple", about="x" * 1501)
    error = response.json()["error"]
    assert (response.status_code, error["code"], sorted(error["fields"])) == (
        400,
        "bad_request",
        ["about", "theme"],
    )
    assert not Preferences.objects.exists()


def test_the_theme_is_on_every_page(member, client_of, transport):
    patch(client_of(member), theme="dark")
    assert 'data-theme="dark"' in client_of(member).get("/settings/").content.decode()
