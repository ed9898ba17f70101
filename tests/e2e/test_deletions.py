"""Chats that are deleted, here and in other tabs, and brought back."""

from __future__ import annotations

import uuid

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import answers, ask, eventually, wait_for_end

pytestmark = pytest.mark.e2e


def new_chat(page, product, text):
    page.goto(f"/w/{page.url.split('/')[4]}/chat/")
    ask(page, text)
    wait_for_end(page)
    return page.url.removeprefix(product.url)


def delete(page, address):
    item = page.locator(f'li:has(a[href="{address}"])').first
    item.hover()
    item.get_by_role("button").first.click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(f'a[href="{address}"]')).to_have_count(0)


def test_each_of_two_deletions_can_be_undone(page, product):
    first, second = (new_chat(page, product, text) for text in ("hello", "hello again"))
    page.goto(f"/w/{page.url.split('/')[4]}/chat/")
    delete(page, first)
    delete(page, second)
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_have_count(2)
    undo.first.click()
    expect(page.locator(f'a[href="{first}"]')).to_have_count(1)
    undo.first.click()
    expect(page.locator(f'a[href="{second}"]')).to_have_count(1)
    deleted = "select count(*) from chat_conversation where deleted_at is not null and id in (?, ?)"
    ids = [uuid.UUID(address.rstrip("/").split("/")[-1]).hex for address in (first, second)]
    eventually(lambda: product.query(deleted, *ids), [(0,)])


def test_a_chat_that_was_deleted_in_another_tab_says_so_and_can_be_brought_back(page, context, product):
    address = new_chat(page, product, "hello")
    other = context.new_page()
    other.goto(address)
    expect(answers(other)).to_have_count(1)
    delete(other, address)
    toast = page.locator(".toast")
    expect(toast).to_contain_text("was deleted in another tab")
    expect(answers(page)).to_have_count(0)
    toast.get_by_role("button", name="Undo").click()
    page.wait_for_url(f"**{address}")
    expect(answers(page)).to_have_count(1)
    expect(other.locator(".toast")).not_to_contain_text("another tab")


def test_a_deletion_that_failed_leaves_the_chat_and_another_tabs_is_told(page, context, product):
    address = new_chat(page, product, "hello")
    fail = lambda route: route.abort() if route.request.method == "DELETE" else route.continue_()  # noqa: E731
    page.route("**/api/**", fail)
    item = page.locator(f'li:has(a[href="{address}"])')
    item.hover()
    item.get_by_role("button").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("cannot be reached")
    expect(item).to_be_visible()
    expect(answers(page)).to_have_count(1)
    other = context.new_page()
    other.goto(address)
    expect(answers(other)).to_have_count(1)
    delete(other, address)
    expect(page.locator(".toast", has_text="was deleted in another tab")).to_be_visible()
    expect(item).to_have_count(0)


def test_a_chat_that_was_deleted_while_this_page_was_away_says_so(page, product):
    address = new_chat(page, product, "hello")
    conversation = uuid.UUID(address.rstrip("/").split("/")[-1]).hex
    gone = "update chat_conversation set deleted_at = datetime() where id = ?"
    page.reload(wait_until="commit")
    product.execute(gone, conversation)
    expect(page.locator(".toast")).to_contain_text("deleted in another tab")
