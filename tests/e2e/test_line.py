"""Nobody waits blind: what a person sees in the line, at its end, and where there is none to stand in."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import answers, ask, eventually, sign_up, wait_for_end
from tests.e2e.crowd import MOST_WAITING, crowd, lift_limits, narrow_product
from tests.e2e.server import Product

pytestmark = pytest.mark.e2e

PLACE = re.compile(r"You’re (next|\d+(st|nd|rd|th) in line), about \d+ (s|min|h)")
BUSY = "All our GPUs are busy. Your message is saved; we’ll start it as soon as we can."
FULL = "All our GPUs are busy and the line is full."


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = narrow_product(tmp_path_factory.mktemp("line") / "var")
    product.start()
    lift_limits(product)
    yield product
    product.stop()


def generation_of(product: Product, answer) -> tuple:
    message = answer.get_attribute("data-message-id").replace("-", "")
    return product.query("select state, output_tokens from chat_generation where message_id = ?", message)[0]


def test_who_waits_sees_place_and_time_keeps_them_and_can_leave(page, product):
    with crowd(product, page, 20):
        ask(page, "hello")
        answer = answers(page).last
        expect(answer).to_have_attribute("data-state", "queued")
        expect(answer).to_contain_text(PLACE)
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        page.reload()
        expect(answer).to_have_attribute("data-state", "queued")
        expect(answer).to_contain_text(PLACE)
        answer.get_by_role("button", name="Cancel").click()
        wait_for_end(page, "stopped")
        expect(answer.get_by_role("button", name="Cancel")).to_be_hidden()
        expect(answer).to_contain_text("You cancelled this before it began.")
        expect(answer.get_by_role("button", name="Copy")).to_be_hidden()
        eventually(lambda: generation_of(product, answer), ("stopped", 0))
        eventually(lambda: product.query("select distinct reserved from accounts_usageday"), [(0,)])
    answer.get_by_role("button", name="Ask again").click()
    assert wait_for_end(page)
    expect(answers(page)).to_have_count(1)
    expect(answer.get_by_role("button", name="Copy")).to_be_visible()


def test_who_waits_in_another_tab_sees_the_same_and_the_first_words_end_it(page, context, product):
    with crowd(product, page, 20):
        ask(page, "hello")
        expect(answers(page).last).to_contain_text(PLACE)
        other = context.new_page()
        other.goto(page.url)
        expect(answers(other).last).to_contain_text(PLACE)
    for one in (page, other):
        assert wait_for_end(one)
        expect(answers(one).last.get_by_text("in line")).to_be_hidden()


def test_a_long_wait_says_why_and_that_the_message_is_saved(page, product):
    with crowd(product, page, MOST_WAITING - 10):
        ask(page, "hello")
        answer = answers(page).last
        expect(answer.get_by_text(BUSY)).to_be_visible()
        page.reload()
        expect(answer.get_by_text(BUSY)).to_be_visible()
        page.keyboard.press("Escape")
        wait_for_end(page, "stopped")
        expect(answer.get_by_text(BUSY)).to_be_hidden()


def test_where_the_line_is_full_the_draft_stays_and_can_be_sent_again(page, product):
    box, alert = page.get_by_label("Ask anything"), page.get_by_role("alert").filter(has_text=FULL)
    with crowd(product, page, MOST_WAITING + 60):  # a quick machine writes one or two a second
        ask(page, "What is the capital of Portugal?", accepted=False)
        expect(alert).to_be_visible()
        expect(alert).to_contain_text(re.compile(r"Try again in \d+ (s|min)\. Your message is kept\."))
        expect(alert.get_by_role("button", name="Try again")).to_be_disabled()
        expect(box).to_have_value("What is the capital of Portugal?")
        expect(answers(page)).to_have_count(0)
        page.keyboard.press("Enter")
        expect(page.get_by_text("You can send this in")).to_be_visible()
        expect(answers(page)).to_have_count(0)
    page.reload()
    expect(box).to_have_value("What is the capital of Portugal?")
    page.get_by_role("button", name="Send").click()
    assert "Lisbon" in wait_for_end(page)
    expect(box).to_have_value("")


def test_a_wait_over_the_plans_longest_is_refused_with_how_long_it_is(page, product):
    product.execute("update accounts_plan set longest_wait = 5")
    try:
        with crowd(product, page, MOST_WAITING - 10):
            ask(page, "hello", accepted=False)
            alert = page.get_by_role("alert").filter(has_text="All our GPUs are busy")
            expect(alert).to_contain_text(re.compile(r"would wait about \d+ (s|min), longer than your plan lets it"))
            expect(page.get_by_label("Ask anything")).to_have_value("hello")
            expect(answers(page)).to_have_count(0)
    finally:
        product.execute("update accounts_plan set longest_wait = null")


def test_without_a_worker_the_page_says_so_and_keeps_the_draft(new_context, tmp_path):
    product = Product(tmp_path / "var", environment={"CHATAPP_MODEL": "/nowhere/at/all"})
    product.start(wait=False)
    eventually(lambda: product.status("/healthz"), 200, seconds=120)
    context = new_context(product.url)
    page = context.new_page()
    try:
        sign_up(page)
        expect(page.get_by_text("The model could not be loaded").first).to_be_visible(timeout=60_000)
        ask(page, "Are you there?", accepted=False)
        alert = page.get_by_role("alert").filter(has_text="Your message is kept.")
        expect(alert).to_be_visible()
        expect(alert.get_by_role("button", name="Try again")).to_be_disabled()
        page.reload()
        expect(page.get_by_label("Ask anything")).to_have_value("Are you there?")
        expect(answers(page)).to_have_count(0)
        assert product.query("select count(*) from chat_message") == [(0,)]
    finally:
        product.stop()
