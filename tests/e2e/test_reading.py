"""What a person reads and finds again: the list of chats, search, ratings, and long answers."""

from __future__ import annotations

import uuid

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import LONG, answers, ask, eventually, wait_for_end
from tests.e2e.people import CHAT, MANY, chats, focused, owner, ratings, write_chats

pytestmark = pytest.mark.e2e


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
    expect(dialog.locator("[data-rating-target=saved]")).to_have_text("Saved")
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
    expect(dialog.locator("[data-rating-target=saved]")).to_have_text("Saved")
    context.set_offline(True)
    dialog.get_by_role("textbox").fill("It was too short.")
    dialog.get_by_role("button", name="Done").click()
    expect(dialog.locator("[data-rating-target=saved]")).to_have_text("Not saved. Try again.")
    expect(dialog.get_by_role("textbox")).to_have_value("It was too short.")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.wait_for_timeout(500)
    expect(dialog).to_be_hidden()
    bad.click()
    expect(dialog.locator("[data-rating-target=saved]")).to_have_text("Not saved. Try again.")
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
