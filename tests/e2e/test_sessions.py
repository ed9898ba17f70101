"""Logins that end or change hands while a page is open: what it says, keeps, hides and sends."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import LONG, PASSWORD, answers, ask, sign_up, wait_for_end
from tests.e2e.people import box, log_in, log_out, notice, questions, tenant_of, user_of

pytestmark = pytest.mark.e2e

SPEAKERS = "select user_id, count(*) from chat_conversation where tenant_id = ? group by user_id"


@pytest.fixture
def colleagues(product, new_context):
    """Two members of the workspace of the first. Gives its slug (also the first's name) and the second's name."""
    first, second = (sign_up(new_context(product.url).new_page()) for _ in range(2))
    product.execute(
        "insert into accounts_membership (user_id, tenant_id, role, created_at) values (?, ?, 'member', datetime())",
        user_of(product, second),
        tenant_of(product, first),
    )
    return first, second


@pytest.fixture
def at_workspace(context, colleagues):
    """The first of two colleagues in their workspace, at a browser that both use."""
    page = context.new_page()
    page.goto(f"/w/{colleagues[0]}/chat/")
    log_in(page, colleagues[0])
    return page


@pytest.mark.long  # what comes first, the answer or the end of the session, differs by machine
def test_what_one_person_sent_in_vain_is_not_sent_by_the_next(at_workspace, context, colleagues, product):
    page, (first, second) = at_workspace, colleagues
    log_out(context.new_page())
    box(page).fill("Is my salary fair?")
    box(page).press("Enter")
    expect(notice(page)).to_contain_text("logged out")
    page.get_by_role("link", name="Log in").click()
    log_in(page, second)
    expect(page).to_have_url(re.compile(f"/w/{first}/chat/$"))
    expect(box(page)).to_have_value("")
    ask(page, "Hello from the second")
    wait_for_end(page)
    assert questions(product, first) == ["Hello from the second"]
    log_out(page)
    page.goto(f"/w/{first}/chat/")
    log_in(page, first)
    expect(answers(page)).to_have_count(1)
    wait_for_end(page)
    assert questions(product, first) == ["Hello from the second", "Is my salary fair?"]
    speakers = dict(product.query(SPEAKERS, tenant_of(product, first)))
    assert speakers == {user_of(product, first): 1, user_of(product, second): 1}


def test_a_page_of_one_person_sends_nothing_once_another_is_logged_in(at_workspace, context, colleagues, product):
    page, (first, second) = at_workspace, colleagues
    other = context.new_page()
    log_out(other)
    box(page).fill("Is my salary fair?")
    box(page).press("Enter")
    expect(notice(page)).to_contain_text("logged out")
    other.goto(f"/w/{first}/chat/")
    log_in(other, second)
    expect(box(other)).to_have_value("")
    expect(notice(page)).to_contain_text("Somebody else has logged in")
    expect(box(page)).to_have_value("")
    assert not box(page).is_editable()
    expect(page.get_by_text("Is my salary fair?")).to_have_count(0)
    page.wait_for_timeout(500)
    assert questions(product, first) == []


@pytest.mark.long  # what comes first, the answer or the end of the session, differs by machine
def test_the_same_person_goes_on_after_logging_in_again_in_another_tab(at_workspace, context, colleagues, product):
    page, (first, _) = at_workspace, colleagues
    other = context.new_page()
    log_out(other)
    box(page).fill("Still me")
    box(page).press("Enter")
    # Sent by itself, or by another Enter where the page heard of the logout before the first.
    held = page.locator("#composer-hint")
    expect(held).to_have_text(re.compile("Sent once you have logged in again|Log in again to send this"))
    waits = held.text_content() != "Log in again to send this"
    other.goto(f"/w/{first}/chat/")
    log_in(other, first)
    expect(notice(page)).to_be_hidden()
    if not waits:
        box(page).press("Enter")
    expect(answers(page)).to_have_count(1)
    wait_for_end(page)
    assert questions(product, first) == ["Still me"]
    answers(page).last.get_by_role("button", name="Good response").click()
    expect(page.get_by_text("Thanks, noted")).to_be_visible()


def test_what_stands_in_a_tab_outlives_a_logout_in_another_one(at_workspace, context, colleagues):
    page, (first, second) = at_workspace, colleagues
    box(page).fill("half a thought")
    log_out(context.new_page())
    expect(notice(page)).to_contain_text("What you wrote here is kept for you")
    page.get_by_role("link", name="Log in").click()
    log_in(page, second)
    expect(box(page)).to_have_value("")
    log_out(page)
    page.goto(f"/w/{first}/chat/")
    log_in(page, first)
    expect(box(page)).to_have_value("half a thought")


@pytest.mark.long  # what comes first, the answer or the end of the session, differs by machine
def test_an_answer_in_a_tab_that_was_logged_out_is_no_longer_shown_as_being_written(at_workspace, context, colleagues):
    page, (first, _) = at_workspace, colleagues
    ask(page, LONG)
    expect(answers(page).last).to_have_attribute("data-state", "streaming")
    log_out(context.new_page())
    expect(notice(page)).to_contain_text("You have been logged out")
    # On a quick machine it may have come whole before the logout was heard of.
    expect(answers(page).last).to_have_attribute("data-state", re.compile("unfollowed|done"))
    if answers(page).last.get_attribute("data-state") == "unfollowed":
        expect(answers(page).last).to_contain_text("Log in to see the rest.")
        expect(answers(page).last.get_by_role("button", name="Continue")).to_be_hidden()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    page.get_by_role("link", name="Log in").click()
    log_in(page, first)
    assert wait_for_end(page)


def test_logging_out_takes_the_drafts_along(page, context):
    slug = page.url.split("/")[4]
    box(page).fill("a thought of mine")
    page.evaluate("localStorage.setItem('draft:old:new', 'nobody knows whose')")
    page.get_by_role("button", name="your menu").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(re.compile(r"//[^/]+/$"))
    kept = page.evaluate("JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage)])")
    assert "thought" not in kept
    assert "nobody" not in kept
    page.goto(f"/w/{slug}/chat/")
    log_in(page, slug)
    expect(box(page)).to_have_value("")


def test_a_tab_that_was_logged_out_goes_on_when_its_person_logs_in_at_the_settings(at_workspace, context, colleagues):
    page, (first, _) = at_workspace, colleagues
    box(page).fill("half a thought")
    other = context.new_page()
    log_out(other)
    expect(notice(page)).to_contain_text("You have been logged out")
    other.goto("/accounts/login/?next=/settings/")
    log_in(other, first, to="**/settings/")
    expect(notice(page)).to_be_hidden()
    expect(box(page)).to_have_value("half a thought")
    expect(page.get_by_role("button", name="Send")).to_have_attribute("aria-disabled", "false")


@pytest.mark.long  # what comes first, the answer or the end of the session, differs by machine
def test_what_one_person_has_on_the_page_is_hidden_from_the_next(at_workspace, context, colleagues):
    page, (first, second) = at_workspace, colleagues
    ask(page, "A secret of the first")
    wait_for_end(page)
    box(page).fill("half a secret")
    other = context.new_page()
    log_out(other)
    other.goto("/accounts/login/?next=/settings/")
    log_in(other, second, to="**/settings/")
    expect(notice(page)).to_contain_text("Somebody else has logged in")
    expect(page.get_by_text("A secret of the first")).to_have_count(0)
    expect(page.get_by_role("navigation", name="Your conversations").get_by_role("link")).to_have_count(0)
    assert "secret" not in page.title()
    log_out(other)
    other.goto(f"/w/{first}/chat/")
    log_in(other, first)
    expect(box(page)).to_have_value("half a secret")
    expect(page.get_by_text("A secret of the first").first).to_be_visible()


def suspend(product, slug, active=0):
    product.execute("update accounts_user set is_active = ? where id = ?", active, user_of(product, slug))


@pytest.mark.long  # what comes first, the answer or the end of the session, differs by machine
def test_a_person_who_was_switched_off_is_told_so_and_what_to_do(page, product):
    slug = page.url.split("/")[4]
    ask(page, LONG)
    address = page.url
    suspend(product, slug)
    expect(notice(page)).to_contain_text("Your account has been switched off")
    # The answer is stopped for them, which the page may still have heard.
    expect(answers(page).last).to_have_attribute("data-state", re.compile("unfollowed|stopped"))
    box(page).fill("kept")
    box(page).press("Enter")
    expect(page.locator("#composer-hint")).to_have_text("Your account is switched off")
    notice(page).get_by_role("link", name="What this means").click()
    expect(page.get_by_role("heading", name="This account is switched off")).to_be_visible()
    suspend(product, slug, active=1)
    page.goto(address)
    expect(box(page)).to_have_value("kept")


def test_a_password_that_was_changed_elsewhere_is_named_as_the_reason(page, product, new_context):
    slug = page.url.split("/")[4]
    box(page).fill("kept")
    elsewhere = new_context(product.url).new_page()
    elsewhere.goto("/accounts/login/?next=/accounts/password/change/")
    log_in(elsewhere, slug, to="**/password/change/")
    change_password(elsewhere, "another green kettle")
    expect(notice(page)).to_contain_text("Your password was changed")
    notice(page).get_by_role("link", name="Log in").click()
    log_in(page, slug, password="another green kettle")
    expect(box(page)).to_have_value("kept")
    elsewhere.goto("/settings/")  # whoever changed it stays
    expect(elsewhere.get_by_role("heading", name="General")).to_be_visible()


def change_password(page, password):
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(password)
    page.get_by_label("The same again").fill(password)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_text("Your password is changed")).to_be_visible()
