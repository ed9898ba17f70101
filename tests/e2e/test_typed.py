"""What is pasted with more in it than a keyboard writes."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import answers, ask, eventually, wait_for_end
from tests.e2e.people import chats, owner, ratings

pytestmark = pytest.mark.e2e

TYPED = "a\x00 \ud83d\x1b b"  # as a paste may bring it
KEPT = "a \ufffd b"


def type_odd(field):
    """What no keyboard writes, and playwright does not carry over."""
    field.evaluate(
        """(field, text) => {
        field.value = JSON.parse(text);
        for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
    }""",
        json.dumps(TYPED),
    )


def test_what_no_keyboard_writes_is_cleaned_wherever_it_is_typed(page, product):
    ask(page, "hello")
    wait_for_end(page)
    type_odd(page.get_by_label("Search conversations"))
    expect(page.locator("#search-results")).to_contain_text(f"Nothing found for “{KEPT}”.")
    page.get_by_label("Search conversations").fill("")
    answers(page).last.get_by_role("button", name="Bad response").click()
    type_odd(page.get_by_role("dialog").get_by_role("textbox"))
    eventually(lambda: ratings(page, product), [(-1, False, KEPT)])
    page.keyboard.press("Escape")
    chats(page).first.hover()
    chats(page).first.get_by_role("button").click()
    page.get_by_role("button", name="Rename").click()
    type_odd(page.get_by_label("Title"))
    page.get_by_label("Title").press("Enter")
    tenant, user = owner(page, product)
    eventually(lambda: product.query("select title from chat_conversation where tenant_id = ?", tenant), [(KEPT,)])
    expect(chats(page).first).to_contain_text(KEPT)
    page.goto("/settings/")
    type_odd(page.get_by_label("Display name"))
    expect(page.get_by_text("Saved", exact=True).first).to_be_visible()
    page.goto("/settings/personalization/")
    for label in ("What should the assistant know", "How should it answer"):
        type_odd(page.get_by_label(label))
    kept = "select display_name, about, style from accounts_preferences where user_id = ?"
    eventually(lambda: product.query(kept, user), [(KEPT,) * 3])
