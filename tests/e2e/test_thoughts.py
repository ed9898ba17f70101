"""What a model thinks before its answer: folded above it, and no part of it."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import LONG, answers, ask, eventually, source, stored, wait_for_end

pytestmark = pytest.mark.e2e

THOUGHTS = ["They want me\n", "to count. ", "<b>Slowly</b>."]
THOUGHT = "".join(THOUGHTS)


class ThinkingModel:
    """The bundled model does not think: its first pieces of text become thoughts, and its words come once let go."""

    def __init__(self, page):
        self.thoughts, self.held, self.text, self.holds = list(THOUGHTS), [], "", True
        page.route_web_socket("**/ws/**", self._serve)
        page.reload()

    def _serve(self, socket):
        self.socket = socket
        socket.connect_to_server().on_message(self._pass_on)

    def _pass_on(self, frame):
        told = json.loads(frame)
        if told["type"] == "tokens" and self.thoughts:
            self.text += told["text"]
            told |= {"text": "", "thought": self.thoughts.pop(0)}
        elif told["type"] in ("tokens", "end") and self.holds:
            return self.held.append(told)
        elif told["type"] == "tokens" and self.text:
            told["text"], self.text = self.text + told["text"], ""
        self.socket.send(json.dumps(told))

    def let_go(self):
        self.holds = False
        for told in self.held:
            self._pass_on(json.dumps(told))


def thought(page):
    return answers(page).last.locator("details")


def rewrite(page, product, change, *values):
    """Change the last answer in the database, and load the page again."""
    answer = answers(page).last.get_attribute("data-message-id").replace("-", "")
    product.execute(f"update chat_message set {change} where id = ?", *values, answer)
    page.reload()


def scrolled(page):
    return page.locator(".scroller").evaluate("scroller => scroller.scrollTop")


def test_thoughts_stream_folded_above_the_answer_and_are_not_copied_with_it(page, product):
    model = ThinkingModel(page)
    ask(page, LONG)
    summary = thought(page).locator("summary")
    expect(summary).to_have_text("Thinking…")
    expect(thought(page).locator("p")).to_be_hidden()
    expect(answers(page).last.get_by_text("Waiting for the model")).to_be_hidden()
    summary.press("Enter")
    expect(thought(page).locator("p")).to_have_text(THOUGHT)
    model.let_go()
    expect(summary).to_have_text("Thoughts")
    text = wait_for_end(page)
    assert text == stored(product, answers(page).last)[0]
    expect(thought(page).locator("p")).to_be_visible()
    answers(page).last.get_by_role("button", name="Copy", exact=True).click()
    eventually(lambda: page.evaluate("navigator.clipboard.readText()"), text)


def test_stored_thoughts_are_shown_after_a_reload_and_an_answer_without_them_has_no_fold(page, product):
    ask(page, "hello")
    wait_for_end(page)
    expect(thought(page)).to_be_hidden()
    rewrite(page, product, "thought = ?", THOUGHT)
    expect(thought(page).locator("summary")).to_have_text("Thoughts")
    thought(page).locator("summary").click()
    expect(thought(page).locator("p")).to_have_text(THOUGHT)
    assert THOUGHT not in source(answers(page).last)


def test_an_answer_that_only_thought_says_so_and_does_not_offer_to_go_on(page, product):
    ask(page, "hello")
    wait_for_end(page)
    failed = "thought = ?, text = '', state = 'failed', error_code = 'no_words', error_message = ?"
    rewrite(page, product, failed, THOUGHT, "The model only thought.")
    expect(answers(page).last).to_contain_text("The model only thought.")
    expect(answers(page).last.get_by_role("button", name="Ask again")).to_be_hidden()
    expect(answers(page).last.get_by_role("button", name="Regenerate")).to_be_visible()
    expect(thought(page).locator("summary")).to_have_text("Thoughts")


def test_unfolding_at_the_end_of_the_page_does_not_scroll_it(page, product):
    ask(page, "hello\n" * 30)
    wait_for_end(page)
    page.set_viewport_size({"width": 1280, "height": 500})
    rewrite(page, product, "thought = ?, text = 'Hi.'", "Hm.\n" * 100)
    summary = thought(page).locator("summary")
    expect(summary).to_be_in_viewport()
    page.wait_for_timeout(300)
    before = scrolled(page)
    assert before > 0
    summary.click()
    expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
    page.wait_for_timeout(300)
    assert scrolled(page) == before
    summary.click()
    expect(page.get_by_role("button", name="Jump to latest")).to_be_hidden()
