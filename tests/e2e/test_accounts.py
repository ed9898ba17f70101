"""A person's addresses and password: reached from the settings, and what the pages say after each act."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import PASSWORD

pytestmark = pytest.mark.e2e


@pytest.fixture
def settings(page):
    page.get_by_role("button", name="your menu").click()
    page.get_by_role("link", name="Settings").click()
    return page.get_by_role("navigation", name="Settings")


def notice(page):
    return page.locator(".notice")


def test_an_address_is_added_and_removed_again(page, settings):
    settings.get_by_role("link", name="E-mail").click()
    page.get_by_label("Another address").fill("o'hara@example.com")
    page.get_by_role("button", name="Add the address").click()
    expect(notice(page)).to_have_text("We sent a link to o'hara@example.com. Open it to confirm the address.")
    row = page.get_by_role("listitem").filter(has_text="o'hara@example.com")
    expect(row).to_contain_text("Not confirmed yet")
    row.get_by_role("button", name="Remove").click()
    expect(notice(page)).to_have_text("o'hara@example.com is removed.")
    expect(row).to_have_count(0)
    page.reload()
    expect(notice(page)).to_have_count(0)


def test_the_only_address_cannot_be_removed(page, settings):
    settings.get_by_role("link", name="E-mail").click()
    expect(settings.get_by_role("link", name="E-mail")).to_have_attribute("aria-current", "page")
    expect(page.get_by_role("listitem").filter(has_text="Primary")).to_have_count(1)
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)


def test_a_password_is_changed_by_whoever_knows_it(page, settings):
    settings.get_by_role("link", name="Password").click()
    page.get_by_label("Current password").fill("not this one")
    page.get_by_label("New password").fill("another green kettle")
    page.get_by_label("The same again").fill("another green kettle")
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_label("Current password")).to_be_focused()
    expect(page.locator(".field-error")).to_have_count(1)
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill("another green kettle")
    page.get_by_label("The same again").fill("another green kettle")
    page.get_by_role("button", name="Change the password").click()
    expect(notice(page)).to_have_text("Your password is changed. Everywhere else you are logged out.")


def test_what_was_said_on_one_page_is_not_said_again_on_another(page, settings):
    settings.get_by_role("link", name="E-mail").click()
    page.get_by_role("button", name="Send the link").click()
    expect(notice(page)).to_have_count(1)
    settings.get_by_role("link", name="Password").click()
    expect(notice(page)).to_have_count(0)
