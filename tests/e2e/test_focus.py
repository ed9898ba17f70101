"""Where the keyboard's place in the page is, and where it goes when what had it goes."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import answers, ask, eventually, wait_for_end
from tests.e2e.people import MANY, chats, focused, write_chats

pytestmark = pytest.mark.e2e


def test_search_goes_on_after_its_first_page_and_is_walked_with_arrow_keys(page, product):
    write_chats(page, product)
    page.reload()
    page.keyboard.press("Control+k")
    page.keyboard.type("kettle")
    found = page.locator("#search-results li")
    expect(found).to_have_count(50)
    page.keyboard.press("ArrowDown")
    assert focused(page) == "Kettle 129"
    page.keyboard.press("ArrowDown")
    assert focused(page) == "Kettle 128"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert focused(page) == "Search conversations"
    for count in (100, MANY):
        found.last.scroll_into_view_if_needed()
        expect(found).to_have_count(count)
    expect(page.get_by_role("button", name="Show more results")).to_be_hidden()


def test_the_focus_never_falls_to_the_top(page, product):
    ask(page, "hello")
    wait_for_end(page)
    answers(page).last.get_by_role("button", name="Regenerate").click()
    eventually(lambda: focused(page), "Ask anything")
    wait_for_end(page)
    answers(page).last.get_by_role("button", name="Previous version").click()
    expect(answers(page).last.get_by_text("1 / 2")).to_be_visible()
    eventually(lambda: focused(page), "Next version")
    answers(page).last.get_by_role("button", name="Next version").press("Enter")
    expect(answers(page).last.get_by_text("2 / 2")).to_be_visible()
    eventually(lambda: focused(page), "Previous version")


def test_after_a_deletion_the_next_chat_has_the_focus(page, product):
    write_chats(page, product, 3)
    page.reload()
    row = chats(page).filter(has_text="Kettle 001")
    row.hover()
    row.get_by_role("button").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    eventually(lambda: focused(page), "Kettle 000")
    page.get_by_role("button", name="Undo").click()
    eventually(lambda: focused(page), "Kettle 001")
    assert chats(page).locator("a").all_text_contents() == ["Kettle 002", "Kettle 001", "Kettle 000"]


def test_a_dismissed_notice_gives_the_focus_back(page):
    page.get_by_role("button", name="Dismiss").press("Enter")
    eventually(lambda: focused(page), "Ask anything")


def test_a_failed_sign_up_puts_the_focus_where_the_mistake_is(context):
    page = context.new_page()
    page.goto("/accounts/signup/")
    page.get_by_label("Email").fill("someone@example.com")
    page.get_by_label("Password").fill("12345678")
    page.get_by_role("button", name="Sign up").click()
    expect(page.locator(".field-error").first).to_be_visible()
    expect(page.get_by_label("Password")).to_be_focused()


def test_results_are_walked_from_end_to_end(page, product):
    write_chats(page, product, 3)
    page.reload()
    search = page.get_by_label("Search conversations")
    search.fill("Kettle")
    expect(page.locator("#search-results li")).to_have_count(3)
    search.press("ArrowDown")
    for key, name in (("End", "Kettle 000"), ("Home", "Kettle 002"), ("End", "Kettle 000"), ("ArrowUp", "Kettle 001")):
        page.keyboard.press(key)
        assert focused(page) == name
    search.focus()
    search.press("Home")
    page.keyboard.type("x")
    expect(search).to_have_value("xKettle")


def test_send_pressed_as_soon_as_the_page_is_there_leaves_the_focus_in_the_page(page):
    """The button goes before the browser has let go of it."""
    for _ in range(4):
        page.goto(page.url, wait_until="domcontentloaded")
        page.get_by_label("Ask anything").fill("hello")
        page.get_by_role("button", name="Send").click()
        expect(answers(page).last).to_be_visible()
        wait_for_end(page)
        page.wait_for_timeout(300)
        assert focused(page) != "BODY"
