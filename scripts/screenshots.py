"""docs/screenshots/ anew: the main states, light and dark, wide and narrow, from a real server.

``make screenshots``. Every picture is of the product as it runs, with the bundled model.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.conftest import CHROMIUM, QUIET, answers, ask, sign_up, wait_for_end
from tests.e2e.crowd import MOST_WAITING, crowd, lift_limits, narrow_product
from tests.e2e.server import ROOT, Product

FOLDER = ROOT / "docs" / "screenshots"
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
LAST_ANSWER_HAS_BEGUN = "() => [...document.querySelectorAll('[data-role=assistant]')].at(-1).sourceText.length > 60"
Step = Callable[["Product", Page, "Camera"], None]
STORY, CODE = "Tell me a long story about a fox", "Write a hello world program in Python"


class Camera:
    """Takes the page as it stands in both themes and both widths."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def take(self, name: str, *, themes: tuple[str, ...] = ("light", "dark"), narrow: bool = True) -> None:
        for theme in themes:
            self._page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            for label, size in (("wide", WIDE), ("narrow", NARROW))[: 2 if narrow else 1]:
                self._page.set_viewport_size(size)  # type: ignore[arg-type]
                self._page.wait_for_timeout(400)
                self._page.screenshot(path=FOLDER / f"{name}-{theme}-{label}.png")
        self._page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def door(product: Product, page: Page, camera: Camera) -> None:
    page.goto("/")
    camera.take("landing")
    page.get_by_role("link", name="Sign up").click()
    camera.take("signup")
    page.get_by_label("Email").fill("ana@example.com")
    page.get_by_label("Password").fill("a quiet green kettle")
    page.get_by_role("button", name="Sign up").click()
    page.wait_for_url("**/chat/")


def chat(product: Product, page: Page, camera: Camera) -> None:
    camera.take("new-chat")
    ask(page, STORY)
    expect(answers(page).last).to_have_attribute("data-state", "streaming")
    page.wait_for_function("() => document.querySelector('[data-role=assistant]').sourceText.length > 60")
    camera.take("streaming", themes=("light",), narrow=False)
    wait_for_end(page)
    for question in ("What is the capital of Portugal?", CODE):
        ask(page, question)
        wait_for_end(page)
        answers(page).last.get_by_role("button", name="Good response").click()
    camera.take("chat")


def trouble(product: Product, page: Page, camera: Camera) -> None:
    ask(page, STORY)
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-role=assistant]')].at(-1).sourceText.length > 60"
    )
    page.get_by_role("button", name="Stop").click()
    wait_for_end(page, "stopped")
    camera.take("stopped", themes=("light",))
    answers(page).last.get_by_role("button", name="Bad response").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Too long").click()
    dialog.get_by_role("textbox").fill("I asked for a short one.")
    page.wait_for_timeout(1000)
    camera.take("rating")
    page.keyboard.press("Escape")


def settings(product: Product, page: Page, camera: Camera) -> None:
    for name, path in (("settings", "/settings/personalization/"), ("usage", "/settings/usage/")):
        page.goto(path)
        camera.take(name)


def reports(product: Product, page: Page, camera: Camera) -> None:
    """Before anything was counted, and after; the roll-up is run by hand so as not to wait for its minute."""
    page.goto("/w/ana/reports/")
    camera.take("reports-empty", themes=("light",), narrow=False)
    environment = os.environ | {"CHATAPP_VAR": str(product.var)}
    command = [sys.executable, "manage.py", "roll_up_ratings", "--days", "1"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    page.reload()
    camera.take("reports")


def admin(product: Product, page: Page, camera: Camera) -> None:
    """The admin as platform staff see it: the person of the other pictures is made one."""
    product.execute("update accounts_user set is_staff = 1, is_superuser = 1")
    for theme in ("light", "dark"):  # it chooses its own when it opens
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.goto("/admin/accounts/plan/")
        camera.take("admin", themes=(theme,), narrow=False)


def line(product: Product, page: Page, camera: Camera) -> None:
    """Waiting one's turn, waiting long, and no room to wait."""
    lift_limits(product)
    page.goto("/")
    sign_up(page)
    with crowd(product, page, 8):
        ask(page, STORY)
        expect(answers(page).last).to_contain_text("in line")
        camera.take("waiting")
    with crowd(product, page, MOST_WAITING - 10):
        page.goto("/")
        ask(page, STORY)
        expect(answers(page).last).to_contain_text("All our GPUs are busy")
        camera.take("busy", themes=("light",))
    with crowd(product, page, MOST_WAITING + 1):
        page.goto("/")
        ask(page, STORY, accepted=False)
        expect(page.get_by_role("alert").filter(has_text="the line is full")).to_be_visible()
        camera.take("full")


def visit(browser: Browser, product: Product, steps: Sequence[Step]) -> None:
    """Start the product and let one person take the steps."""
    product.start()
    page = browser.new_context(base_url=product.url, viewport=WIDE).new_page()  # type: ignore[arg-type]
    try:
        for step in steps:
            step(product, page, Camera(page))
    finally:
        product.stop()


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            visit(browser, Product(Path(folder) / "var"), [door, chat, trouble, settings, reports, admin])
            visit(browser, narrow_product(Path(folder) / "line"), [line])
        finally:
            browser.close()
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
