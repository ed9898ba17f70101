"""What a person sends: once, as it was written; and what the page says when that cannot be."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import LONG, answers, ask, sign_up, source, wait_for_end
from tests.e2e.people import box, questions

pytestmark = pytest.mark.e2e

PLAIN_HTTP = """
    delete Crypto.prototype.randomUUID;
    Object.defineProperty(Navigator.prototype, "clipboard", { value: undefined });
"""  # what a page lacks that came over http from another machine


def test_over_plain_http_from_another_machine_everything_can_be_sent_and_copied(context, product):
    context.add_init_script(PLAIN_HTTP)
    page = context.new_page()
    slug = sign_up(page)
    assert page.evaluate("[typeof crypto.randomUUID, typeof navigator.clipboard]") == ["undefined"] * 2
    ask(page, LONG)
    expect(answers(page).last).to_have_attribute("data-state", "streaming")
    page.get_by_role("button", name="Stop").click()
    stopped = wait_for_end(page, "stopped")
    answers(page).last.get_by_role("button", name="Continue").click()
    text = wait_for_end(page)
    assert text.startswith(stopped)
    answers(page).last.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_text("Copied", exact=True)).to_be_visible()
    box(page).press("Control+v")
    expect(box(page)).to_have_value(text)
    answers(page).last.get_by_role("button", name="Regenerate").click()
    expect(page.get_by_text("2 / 2")).to_be_visible()
    wait_for_end(page)
    ask(page, "Write a hello world program in Python")
    wait_for_end(page)
    answers(page).last.get_by_role("button", name="Copy code").first.click()
    expect(page.get_by_text("Copied", exact=True).first).to_be_visible()
    assert len(questions(product, slug)) == 2


def test_a_fault_of_the_page_is_told_and_the_button_free_again(product, new_context):
    context = new_context(product.url)
    context.add_init_script("Crypto.prototype.getRandomValues = () => { throw new TypeError('gone'); };")
    page = context.new_page()
    sign_up(page)
    ask(page, "Hello", accepted=False)
    expect(page.get_by_role("alert")).to_contain_text("Something went wrong on this page")
    expect(page.get_by_role("button", name="Send")).to_have_attribute("aria-busy", "false")
    expect(box(page)).to_have_value("Hello")
    page.evaluate("() => { setTimeout(() => { throw new Error('late'); }); }")
    expect(page.locator(".toast")).to_contain_text("Something went wrong on this page")
    page.locator(".toast").get_by_role("button", name="Dismiss").click()
    page.evaluate("() => { CSS.supports = () => { throw new Error('in a handler'); }; }")
    box(page).press("x")
    expect(page.locator(".toast")).to_contain_text("Something went wrong on this page")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("a \ud83d b", "a \ufffd b"),
        ("\u0001a\u0000\u001b[31mb\u007f", "a[31mb"),
        ("    if x:\n\tpass", "    if x:\n\tpass"),
    ],
)
def test_a_text_no_keyboard_writes_is_sent_as_what_can_be_read(page, product, typed, kept):
    slug = page.url.split("/")[4]
    fill(page, typed)
    page.get_by_role("button", name="Send").click()
    expect(answers(page)).to_have_count(1)
    wait_for_end(page)
    expect(box(page)).to_have_value("")
    assert questions(product, slug) == [kept]


def fill(page, text):
    """Also half characters, which playwright's own ``fill`` does not carry over."""
    escaped = json.dumps(text)
    page.evaluate(f"""() => {{
        const box = document.getElementById("composer-input");
        box.value = {escaped};
        box.dispatchEvent(new Event("input", {{ bubbles: true }}));
    }}""")


def test_a_message_that_only_breaks_the_connection_is_given_up_and_can_be_changed(context, product):
    """The server's half: it closes with 1009 at whatever says "huge"."""
    sockets = []

    def serve(socket):
        sockets.append(socket)
        server = socket.connect_to_server()
        refuse = lambda frame: socket.close(code=1009) if "huge" in frame else server.send(frame)  # noqa: E731
        socket.on_message(refuse)

    page = context.new_page()
    slug = sign_up(page)
    page.route_web_socket("**/ws/**", serve)
    page.reload()
    ask(page, "huge", accepted=False)
    expect(page.get_by_role("alert")).to_contain_text("too large for the server", timeout=30_000)
    assert len(sockets) <= 6
    expect(page.get_by_role("button", name="Send")).to_have_attribute("aria-busy", "false")
    page.reload()
    expect(box(page)).to_have_value("huge")
    page.wait_for_timeout(1000)
    expect(page.get_by_role("alert")).to_be_hidden()
    ask(page, "hello")
    wait_for_end(page)
    assert questions(product, slug) == ["hello"]


def test_on_a_touch_screen_enter_breaks_the_line_and_the_button_sends(new_context, product):
    context = new_context(product.url, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    page = context.new_page()
    sign_up(page)
    assert box(page).get_attribute("enterkeyhint") == "enter"
    box(page).tap()
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    page.keyboard.type("there")
    assert box(page).input_value() == "hello\nthere"
    page.get_by_role("button", name="Send").tap()
    wait_for_end(page)
    assert source(page.locator('[data-role="user"]').last) == "hello\nthere"


def test_enter_that_ends_a_composition_sends_nothing(page):
    assert box(page).get_attribute("enterkeyhint") == "send"
    box(page).fill("にほ")
    page.evaluate("""() => {
        const enter = new KeyboardEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true, cancelable: true });
        document.getElementById("composer-input").dispatchEvent(enter);
    }""")
    page.wait_for_timeout(300)
    expect(box(page)).to_have_value("にほ")
    expect(answers(page)).to_have_count(0)
