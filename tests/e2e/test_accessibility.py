"""What axe-core finds in the pages of a person: nothing, in both themes, on a desk and on a phone."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.e2e.conftest import answers, ask, wait_for_end
from tests.e2e.test_formulas import TEXT, write

pytestmark = pytest.mark.e2e

ANYONE = [
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/password/reset/key/1-x/",
    "/accounts/password/reset/key/done/",
    "/accounts/inactive/",
    "/accounts/confirm-email/",
    "/accounts/confirm-email/x/",
]
MEMBERS = [
    "/settings/",
    "/settings/personalization/",
    "/settings/usage/",
    "/accounts/email/",
    "/accounts/password/change/",
    "/accounts/reauthenticate/",
    "/accounts/logout/",
]
LOOKS = [(theme, width) for theme in ("light", "dark") for width in (1440, 390)]


def violations(page):
    """``(theme, width, rule, element)`` for all that axe complains of, and for a page that is wider than its window."""
    found = []
    for theme, width in LOOKS:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("() => Promise.all(document.getAnimations().map((each) => each.finished))")
        for rule in Axe().run(page).response["violations"]:
            found += [(theme, width, rule["id"], *node["target"]) for node in rule["nodes"]]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append((theme, width, "too wide"))
    return found


@pytest.mark.parametrize("address", ANYONE)
def test_pages_for_anyone(context, address):
    page = context.new_page()
    assert page.goto(address).status == 200
    assert violations(page) == []


@pytest.mark.parametrize("address", MEMBERS)
def test_pages_for_members(page, address):
    assert page.goto(address).status == 200
    assert page.url.endswith(address)
    assert violations(page) == []


def test_forms_with_mistakes(page):
    for address, button in (
        ("/accounts/email/", "Add the address"),
        ("/accounts/password/change/", "Change the password"),
    ):
        page.goto(address)
        page.get_by_role("button", name=button).click()
        page.locator(".field-error").first.wait_for()
        assert violations(page) == []


def test_an_answer_with_formulas_boxes_and_notes(page):
    ask(page, "hello")
    wait_for_end(page)
    write(page, TEXT + "\n- [x] done\n- [ ] to do\n\n$$" + "x + " * 80 + "y$$\n", 50)
    page.locator(".formula[tabindex]").first.wait_for()
    assert violations(page) == []


def test_a_dialog_with_a_toast_above_it(page):
    ask(page, "hello")
    wait_for_end(page)
    answers(page).last.get_by_role("button", name="Good response").click()
    answers(page).last.get_by_role("button", name="Bad response").click()
    page.get_by_role("dialog").locator(".toast").wait_for()
    assert violations(page) == []
