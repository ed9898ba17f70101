"""One product and one browser for the suite; a fresh person and context for every test."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from tests.e2e.chromium import CHROMIUM, QUIET, Chromium  # noqa: F401 - the first two for scripts and benchmarks
from tests.e2e.server import Product

PASSWORD = "a quiet green kettle"
LONG = "Count from 1 to 50"  # the demo model writes hundreds of tokens here: time enough to act in the middle
_people = itertools.count(1)

expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("product") / "var")
    product.start()
    yield product
    product.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        chromium = Chromium(playwright)
        yield chromium
        chromium.close()


@pytest.fixture
def new_context(chromium: Chromium) -> Iterator[Callable[..., BrowserContext]]:
    """``new_context(url)``: a browser with empty storage at that product. It is closed after the test."""
    opened = []

    def make(url: str, **settings: Any) -> BrowserContext:
        opened.append(chromium.new_context(base_url=url, **settings))
        return opened[-1]

    yield make
    for context in opened:
        chromium.close_context(context)


@pytest.fixture
def context(new_context: Callable[..., BrowserContext], product: Product) -> Iterator[BrowserContext]:
    """A browser at the suite's product. The test fails when any of its pages logs an error."""
    context = new_context(product.url, viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on(
        "console",
        lambda message: errors.append(message.text) if "Content Security Policy" in message.text else None,
    )
    yield context
    assert errors == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A person who has just signed up, at their first chat."""
    page = context.new_page()
    sign_up(page)
    return page


def sign_up(page: Page) -> str:
    """Through the pages, as a person does. Returns the workspace's slug."""
    name = f"person{next(_people)}"
    page.goto("/")
    page.get_by_role("link", name="Sign up").click()
    page.get_by_label("Email").fill(f"{name}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    page.wait_for_url("**/w/*/chat/")
    return page.url.split("/")[4]


def ask(page: Page, text: str, *, accepted: bool = True) -> None:
    """Send a message; return once its answer has its place in the page, unless it is to be refused."""
    before = answers(page).count()
    page.get_by_label("Ask anything").fill(text)
    page.get_by_role("button", name="Send").click()
    if accepted:
        expect(answers(page)).to_have_count(before + 1)


def answers(page: Page):
    return page.locator('[data-role="assistant"]')


def wait_for_end(page: Page, state: str = "done", nth: int = -1) -> str:
    """Wait until the answer has ended so. Returns its source text."""
    answer = answers(page).nth(nth)
    expect(answer).to_have_attribute("data-state", state, timeout=60_000)
    return source(answer)


def source(message) -> str:
    """The exact text the page holds for a message."""
    return message.evaluate("element => element.sourceText")


def stored(product: Product, message) -> tuple[str, str]:
    """Text and state of the message in the database."""
    message_id = message.get_attribute("data-message-id").replace("-", "")
    return product.query("select text, state from chat_message where id = ?", message_id)[0]


def eventually(read, wanted, seconds=15.0):
    """Wait until ``read()`` gives ``wanted``."""
    deadline = time.monotonic() + seconds
    while (found := read()) != wanted:
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.1)
