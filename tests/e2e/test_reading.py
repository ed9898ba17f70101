"""What a person reads and finds again: the list of chats, search, ratings, and where the focus goes."""

from __future__ import annotations

import uuid

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import LONG, answers, ask, eventually, wait_for_end

pytestmark = pytest.mark.e2e

CHAT = """
    insert into chat_conversation (id, tenant_id, user_id, title, titled_by_hand, created_at, updated_at)
    values (?, ?, ?, ?, 1, ?, ?)
"""
MANY = 130


def owner(page, product):
    slug = page.url.split("/")[4]
    return product.query(
        "select tenant_id, user_id from accounts_membership "
        "where tenant_id = (select id from accounts_tenant where slug = ?)",
        slug,
    )[0]


def write_chats(page, product, count=MANY):
    """Chats of long ago, one a minute, straight into the database."""
    tenant, user = owner(page, product)
    for number in range(count):
        at = f"2025-03-0{1 + number // 60} 10:{number % 60:02d}:00"
        product.execute(CHAT, uuid.uuid4().hex, tenant, user, f"Kettle {number:03d}", at, at)


def chats(page):
    return page.locator("#conversations li")


def focused(page):
    """The name of what has the focus."""
    return page.evaluate(
        "() => { const { ariaLabel, textContent, tagName } = document.activeElement;"
        " return ariaLabel || textContent.trim() || tagName; }"
    )


def ratings(page, product):
    tenant, _ = owner(page, product)
    rows = product.query("select value, reasons, comment from feedback_rating where tenant_id = ?", tenant)
    return [(value, len(reasons) > 2, comment) for value, reasons, comment in rows]


def test_the_101st_chat_is_there_when_one_scrolls(page, product):
    write_chats(page, product)
    page.reload()
    expect(chats(page)).to_have_count(100)
    page.get_by_role("link", name="Kettle 035").scroll_into_view_if_needed()
    expect(chats(page)).to_have_count(MANY)
    expect(page.get_by_role("link", name="Kettle 000")).to_be_attached()
    expect(page.get_by_role("button", name="Show older chats")).to_be_hidden()
    expect(page.locator("#conversations h2")).to_have_text(["March 2025"])
    titles = chats(page).locator("a").all_text_contents()
    assert titles == sorted(titles, reverse=True)


def test_the_101st_chat_is_there_when_all_were_answered_at_the_same_moment(page, product):
    tenant, user = owner(page, product)
    for number in range(MANY):
        at = "2025-03-01 10:00:00"
        product.execute(CHAT, uuid.uuid4().hex, tenant, user, f"Kettle {number:03d}", at, at)
    page.reload()
    expect(chats(page)).to_have_count(100)
    chats(page).last.scroll_into_view_if_needed()
    expect(chats(page)).to_have_count(MANY)


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


def test_a_chat_that_is_answered_moves_to_the_top_and_others_tabs_chats_appear(page, context, product):
    ask(page, "hello")
    wait_for_end(page)
    first = page.url
    other = context.new_page()
    other.goto(first)
    page.goto(first.rsplit("/", 2)[0] + "/")
    ask(page, "good morning")
    wait_for_end(page)
    expect(chats(page)).to_have_count(2)
    second = page.url
    expect(chats(other)).to_have_count(1)
    other.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(chats(other)).to_have_count(2)
    assert chats(other).locator("a").first.get_attribute("href") == second.removeprefix(product.url)
    ask(other, "hello again")
    expect(chats(other).locator("a").first).to_have_attribute("href", first.removeprefix(product.url))


def test_a_thumb_loses_nothing_that_was_written(page, product):
    ask(page, "hello")
    wait_for_end(page)
    answer = answers(page).last
    good, bad = (answer.get_by_role("button", name=f"{name} response") for name in ("Good", "Bad"))
    dialog = page.get_by_role("dialog")
    bad.click()
    expect(dialog.get_by_text("People who improve the assistant read this")).to_be_visible()
    dialog.locator("label.chip:visible").first.click()
    dialog.get_by_role("textbox").fill("It was too short.")
    expect(dialog.get_by_role("status")).to_have_text("Saved")
    expect(dialog.get_by_text("People who improve the assistant read this")).to_be_visible()
    page.keyboard.press("Escape")
    assert focused(page) == "Bad response"
    eventually(lambda: ratings(page, product), [(-1, True, "It was too short.")])

    bad.click()
    expect(dialog.get_by_role("textbox")).to_have_value("It was too short.")
    page.keyboard.press("Escape")
    good.click()
    eventually(lambda: ratings(page, product), [(1, False, "It was too short.")])
    expect(dialog.get_by_role("heading")).to_have_text("What was good?")
    expect(dialog.get_by_role("textbox")).to_have_value("It was too short.")
    page.keyboard.press("Escape")
    assert focused(page) == "Good response"
    bad.click()
    eventually(lambda: ratings(page, product), [(-1, True, "It was too short.")])

    dialog.get_by_role("button", name="Remove rating").click()
    expect(bad).to_have_attribute("aria-pressed", "false")
    eventually(lambda: ratings(page, product), [])
    page.get_by_role("button", name="Undo").click()
    expect(bad).to_have_attribute("aria-pressed", "true")
    eventually(lambda: ratings(page, product), [(-1, True, "It was too short.")])


def test_a_comment_that_could_not_be_saved_stays_in_the_dialog_until_it_is(page, context, product):
    ask(page, "hello")
    wait_for_end(page)
    bad = answers(page).last.get_by_role("button", name="Bad response")
    dialog = page.get_by_role("dialog")
    bad.click()
    dialog.locator("label.chip:visible").first.click()
    expect(dialog.get_by_role("status")).to_have_text("Saved")
    context.set_offline(True)
    dialog.get_by_role("textbox").fill("It was too short.")
    dialog.get_by_role("button", name="Done").click()
    expect(dialog.get_by_role("status")).to_have_text("Not saved. Try again.")
    expect(dialog.get_by_role("textbox")).to_have_value("It was too short.")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.wait_for_timeout(500)
    expect(dialog).to_be_hidden()
    bad.click()
    expect(dialog.get_by_role("status")).to_have_text("Not saved. Try again.")
    expect(dialog.get_by_role("textbox")).to_have_value("It was too short.")
    context.set_offline(False)
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_be_hidden()
    eventually(lambda: ratings(page, product), [(-1, True, "It was too short.")])


def test_a_removed_rating_does_not_come_back_with_the_next_press(page, product):
    ask(page, "hello")
    wait_for_end(page)
    bad = answers(page).last.get_by_role("button", name="Bad response")
    dialog = page.get_by_role("dialog")
    bad.click()
    dialog.locator("label.chip:visible").first.click()
    dialog.get_by_role("textbox").fill("It was too long.")
    eventually(lambda: ratings(page, product), [(-1, True, "It was too long.")])
    dialog.get_by_role("button", name="Remove rating").click()
    eventually(lambda: ratings(page, product), [])
    bad.click()
    eventually(lambda: ratings(page, product), [(-1, False, "")])
    expect(dialog.get_by_role("textbox")).to_have_value("")
    expect(dialog.locator("input:checked")).to_have_count(0)


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


def test_long_blocks_grow_in_pieces_and_end_whole(page):
    ask(page, LONG)
    wait_for_end(page)
    found = page.evaluate(
        """async () => {
          const { MarkdownView } = await import("models/markdown");
          const box = document.getElementById("code-box");
          const shown = (text, step) => {
            const element = document.createElement("div");
            document.querySelector(".messages").append(element);
            const view = new MarkdownView(element, box);
            let most = 0;
            for (let end = step; end < text.length + step; end += step) {
              view.update(text.slice(0, end));
              most = Math.max(most, element.querySelectorAll(".goes-on, .code-piece + .code-piece").length);
            }
            view.finish(text);
            const html = element.innerHTML;
            element.remove();
            return { html, most };
          };
          const repeat = (unit) => unit.repeat(5000 / unit.length);
          const texts = [
            repeat("Some *words* and more. "), repeat("Some *words*\\n"),
            "- a\\n" + repeat("- b `c`\\n"), "> q\\n" + repeat("> r\\n"),
            "| a | b |\\n|---|---|\\n" + repeat("| one | two |\\n"),
            "```\\n" + repeat("x = 1\\n") + "```\\n",
            "1. a\\n" + repeat("   - b\\n"), "- a\\n  ```\\n" + repeat("  x\\n"),
          ];
          return texts.map((text) => {
            const grown = shown(text, 97);
            return [grown.most > 0, grown.html === shown(text, text.length).html, grown.html.includes("goes-on")];
          });
        }"""
    )
    assert found == [[True, True, False]] * 8


def test_named_characters_are_read_as_the_browser_reads_them(page):
    shown = page.evaluate(
        """async () => {
          const { MarkdownView } = await import("models/markdown");
          const element = document.createElement("div");
          const text = "&copy; &amp;lt; &nope; &notit; a&Tab;b &semi; &#35; `&copy;` [x](/a&auml;)";
          new MarkdownView(element, document.getElementById("code-box")).finish(text);
          return [element.textContent, element.querySelector("a").getAttribute("href")];
        }"""
    )
    assert shown == ["\u00a9 &lt; &nope; &notit; a\tb ; # &copy; x", "/a%C3%A4"]


def test_thanks_for_the_next_rating_take_the_place_of_the_last(page):
    for _ in range(2):
        ask(page, "hello")
        wait_for_end(page)
        answers(page).last.get_by_role("button", name="Good response").click()
        expect(page.get_by_text("Thanks, noted")).to_have_count(1)
