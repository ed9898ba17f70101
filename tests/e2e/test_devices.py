"""Sessions ended from another device: the page there says so at once."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.people import log_in, notice

pytestmark = pytest.mark.e2e


def test_a_session_that_is_ended_elsewhere_says_so_on_its_open_page(page, product, new_context):
    slug = page.url.split("/")[4]
    other = new_context(product.url, user_agent="Mozilla/5.0 (Windows NT 10.0) Firefox/140.0").new_page()
    other.goto(f"/w/{slug}/chat/")
    log_in(other, slug)
    page.goto("/settings/")
    page.get_by_role("navigation", name="Settings").get_by_role("link", name="Sessions").click()
    page.get_by_role("button", name="Log out Firefox on Windows").click()
    expect(page.locator(".notice")).to_have_text("1 session is logged out.")
    expect(notice(other)).to_contain_text("You have been logged out", timeout=5_000)
    expect(page.get_by_role("listitem")).to_have_count(1)
