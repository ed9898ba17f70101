"""What is changed in one tab and shows in the others of the same browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


@pytest.fixture
def tabs(page, context):
    """The chat, the settings, and the settings once more, of one person."""
    settings = [context.new_page() for _ in range(2)]
    for tab in settings:
        tab.goto("/settings/")
    return page, *settings


def theme_of(tab):
    return tab.locator("html")


def test_the_theme_is_the_same_in_all_tabs(tabs):
    chat, first, second = tabs
    first.get_by_label("Theme", exact=True).select_option("dark")
    for tab in tabs:
        expect(theme_of(tab)).to_have_attribute("data-theme", "dark")
    expect(second.get_by_label("Theme", exact=True)).to_have_value("dark")
    chat.get_by_role("button", name="your menu").click()
    expect(chat.get_by_role("radio", name="Dark")).to_be_checked()
    chat.get_by_role("radio", name="Light").check(force=True)
    for tab in (first, second):
        expect(theme_of(tab)).to_have_attribute("data-theme", "light")
        expect(tab.get_by_label("Theme", exact=True)).to_have_value("light")


def test_a_name_is_the_same_in_all_tabs_but_where_another_is_being_written(tabs):
    chat, first, second = tabs
    second.route("**/me/preferences/", lambda route: route.abort())
    second.get_by_label("Display name").fill("Being wr")
    expect(second.get_by_text("Not saved")).to_be_visible()
    first.get_by_label("Display name").fill("Ana")
    expect(chat.locator(".person-name")).to_have_text("Ana")
    expect(second.get_by_label("Display name")).to_have_value("Being wr")
    first.get_by_label("Display name").fill("")
    expect(chat.locator(".person-name")).to_have_text(chat.url.split("/")[4])


def test_another_persons_theme_is_their_own(tabs, new_context, product):
    chat, first, _ = tabs
    chat.evaluate("""() => {
        const channel = new BroadcastChannel("chatapp");
        channel.postMessage({ kind: "preference", person: "somebody", name: "theme", value: "dark" });
    }""")
    first.wait_for_timeout(500)
    expect(theme_of(first)).to_have_attribute("data-theme", "auto")
