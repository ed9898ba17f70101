"""The short words at the head of the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import LONG, answers, ask, eventually, wait_for_end

pytestmark = pytest.mark.e2e


def test_a_toast_is_above_a_dialog_and_can_be_answered_there(page):
    ask(page, "hello")
    wait_for_end(page)
    answers(page).last.get_by_role("button", name="Good response").click()
    toast = page.locator(".toast")
    expect(toast).to_contain_text("Thanks, noted")
    answers(page).last.get_by_role("button", name="Bad response").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    on_top = """element => {
        const { x, y, width, height } = element.getBoundingClientRect();
        return element.contains(document.elementFromPoint(x + width / 2, y + height / 2));
    }"""
    eventually(lambda: toast.evaluate(on_top), True)
    toast.get_by_role("button", name="Dismiss").click(timeout=2000)
    expect(toast).to_have_count(0)
    page.get_by_role("dialog").get_by_role("button", name="Remove rating").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(toast).to_contain_text("Rating removed")
    toast.get_by_role("button", name="Undo").click(timeout=2000)
    expect(answers(page).last.get_by_role("button", name="Bad response")).to_have_attribute("aria-pressed", "true")


def test_escape_stops_an_answer_though_a_toast_is_shown(page):
    ask(page, LONG)
    expect(answers(page).last).to_have_attribute("data-state", "streaming")
    page.evaluate("() => dispatchEvent(new CustomEvent('toast:show', { detail: { message: 'Something' } }))")
    expect(page.locator(".toast")).to_be_visible()
    page.keyboard.press("Escape")
    wait_for_end(page, "stopped")


def test_thanks_for_the_next_rating_take_the_place_of_the_last(page):
    for _ in range(2):
        ask(page, "hello")
        wait_for_end(page)
        answers(page).last.get_by_role("button", name="Good response").click()
        expect(page.get_by_text("Thanks, noted")).to_have_count(1)
