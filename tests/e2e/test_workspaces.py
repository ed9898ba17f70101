"""A workspace of several people, in their browsers: invited, joined, changed, shut out, deleted and brought back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .conftest import PASSWORD, ask, sign_up, wait_for_end

pytestmark = pytest.mark.e2e


def make_workspace(page, name="Acme Observatory") -> str:
    page.goto("/settings/workspaces/")
    page.get_by_label("Name of a new workspace").fill(name)
    page.get_by_role("button", name="Make a workspace").click()
    page.wait_for_url("**/w/*/chat/")
    return page.url.split("/")[4]


def invite_link(page, slug) -> str:
    """The path of a link that anybody may join by."""
    page.goto(f"/w/{slug}/settings/members/")
    page.get_by_role("button", name="Make a link").click()
    address = page.locator("li code").first.text_content()
    return "/join/" + address.split("/join/")[1]


@pytest.fixture
def another(new_context, product):
    """Somebody else's browser."""
    return new_context(product.url).new_page()


def test_somebody_new_joins_by_a_link_and_is_shut_out_while_they_read(page, another):
    slug = make_workspace(page)
    path = invite_link(page, slug)
    another.goto(path)
    another.get_by_role("link", name="Sign up").click()
    another.get_by_label("Email").fill("newcomer@example.com")
    another.get_by_label("Password").fill(PASSWORD)
    another.get_by_role("button", name="Sign up").click()
    expect(another.get_by_role("heading", name="Join Acme Observatory")).to_be_visible()
    another.get_by_role("button", name="Join").click()
    another.wait_for_url(f"**/w/{slug}/chat/")
    ask(another, "What is the capital of Portugal?")
    wait_for_end(another)

    page.goto(f"/w/{slug}/settings/members/")
    row = page.locator("li", has_text="newcomer@example.com")
    row.get_by_label("Role of newcomer").select_option("analyst")
    expect(page.get_by_text("newcomer is analyst now")).to_be_visible()
    row.get_by_role("button", name="Suspend").click()
    expect(another.get_by_text("no longer a member")).to_be_visible(timeout=6000)
    assert another.goto(f"/w/{slug}/chat/").status == 404
    row.get_by_role("button", name="Let in").click()
    expect(row.get_by_role("button", name="Suspend")).to_be_visible()
    another.goto(f"/w/{slug}/chat/")
    expect(another.get_by_role("textbox", name="Ask anything")).to_be_visible()
    row.get_by_role("button", name="Remove").click()
    row.get_by_role("button", name="Really remove?").click()
    expect(row).to_have_count(0)
    expect(another.get_by_text("no longer a member")).to_be_visible(timeout=6000)

    page.goto(f"/w/{slug}/settings/audit/")
    expect(page.get_by_text("Removed a member")).to_be_visible()
    expect(page.get_by_text("127.0.0.1").first).to_be_visible()


def test_a_member_sees_what_is_theirs_and_no_more(page, another):
    slug = make_workspace(page)
    path = invite_link(page, slug)
    sign_up(another)
    another.goto(path)
    another.get_by_role("button", name="Join").click()
    another.wait_for_url(f"**/w/{slug}/chat/")
    for closed in ("settings/", "settings/members/", "settings/audit/", "reports/"):
        assert another.goto(f"/w/{slug}/{closed}").status == 403, closed
    another.goto("/settings/workspaces/")
    row = another.locator("li", has_text="Acme Observatory")
    row.get_by_role("button", name="Leave").click()
    row.get_by_role("button", name="Really leave?").click()
    expect(another.get_by_text("Acme Observatory")).to_have_count(0)


def test_settings_count_for_everybody_and_a_deleted_workspace_can_come_back(page):
    slug = make_workspace(page)
    page.goto(f"/w/{slug}/settings/")
    page.get_by_label("Welcome text").fill("Ask about the stars")
    page.get_by_label("Starters").fill("Which planet is largest?\n\nWhat is a nebula?")
    page.get_by_label("Starters").blur()
    expect(page.get_by_text("Saved", exact=True)).to_have_count(2)
    page.get_by_label("Accent").fill("red")
    expect(page.get_by_text("Write a colour as #rrggbb.")).to_be_visible()
    page.get_by_label("Accent").fill("#7a1fa2")
    expect(page.get_by_text("Saved", exact=True)).to_have_count(3)
    page.goto(f"/w/{slug}/chat/")
    expect(page.get_by_text("Ask about the stars")).to_be_visible()
    expect(page.get_by_role("list", name="Suggestions").get_by_role("button")).to_have_text(
        ["Which planet is largest?", "What is a nebula?"]
    )

    page.goto(f"/w/{slug}/settings/")
    page.get_by_role("button", name="Delete workspace").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Delete workspace")).to_be_disabled()
    dialog.get_by_label("Write its name to delete it").fill("Acme Observatory")
    dialog.get_by_role("button", name="Delete workspace").click()
    page.wait_for_url("**/settings/workspaces/")
    assert page.goto(f"/w/{slug}/chat/").status == 404
    page.goto("/settings/workspaces/")
    page.get_by_role("button", name="Bring it back").click()
    expect(page.get_by_role("link", name="Acme Observatory")).to_be_visible()
    assert page.goto(f"/w/{slug}/chat/").status == 200
