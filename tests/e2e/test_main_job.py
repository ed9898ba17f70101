"""The main job: sign up, ask, watch a real model answer, lose nothing."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import LONG, answers, ask, eventually, sign_up, source, stored, wait_for_end

pytestmark = pytest.mark.e2e

TITLE_STATES = """
    select g.state from chat_generation g join chat_message m on m.id = g.message_id
    where g.kind = 'title' and m.conversation_id = ?
"""
SUBSCRIBE = """([slug, message, generation]) => new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}/ws/w/${slug}/`), frames = [];
    const request = {type: "subscribe", ref: 1, message, generation, after_seq: 0};
    socket.onopen = () => socket.send(JSON.stringify(request));
    socket.onmessage = (event) => frames.push(JSON.parse(event.data));
    setTimeout(() => resolve(frames.filter((frame) => frame.type !== "welcome")), 1500);
})"""
CLOSE_CODE = """(slug) => new Promise((resolve) => {
    new WebSocket(`ws://${location.host}/ws/w/${slug}/`).onclose = (event) => resolve(event.code);
})"""


def growing_states(page, enough=3, seconds=30.0):
    """Distinct lengths of the answer's text while it is being written."""
    seen, deadline = [], time.monotonic() + seconds
    while len(seen) < enough and time.monotonic() < deadline:
        message = answers(page).last
        length = len(message.evaluate("element => element.sourceText || ''")) if message.count() else 0
        if length and length not in seen and message.get_attribute("data-state") == "streaming":
            seen.append(length)
        page.wait_for_timeout(30)
    return seen


def test_sign_up_ask_and_watch_the_answer_grow(page, product):
    ask(page, LONG)
    grown = growing_states(page)
    assert len(grown) >= 3
    assert grown == sorted(grown)
    text = wait_for_end(page)
    assert (text, "done") == stored(product, answers(page).last)
    assert len(text) > 100
    assert "/chat/" in page.url
    expect(page).to_have_url(page.url)


def test_a_reload_in_the_middle_loses_nothing(page, product):
    ask(page, LONG)
    assert growing_states(page, 2)
    page.reload()
    text = wait_for_end(page)
    assert text.encode() == stored(product, answers(page).last)[0].encode()
    rendered = answers(page).last.inner_text()
    assert all(word in rendered for word in text.split()[:20])


def test_stop_keeps_what_was_written_and_continue_goes_on(page, product):
    ask(page, LONG)
    assert growing_states(page, 2)
    page.get_by_role("button", name="Stop").click()
    text = wait_for_end(page, "stopped")
    assert text == stored(product, answers(page).last)[0]
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    answers(page).last.get_by_role("button", name="Continue").click()
    longer = wait_for_end(page)
    assert longer.startswith(text)
    assert len(longer) > len(text)
    assert longer == stored(product, answers(page).last)[0]


def test_a_second_tab_shows_the_same_stream(page, context, product):
    ask(page, "hello")
    wait_for_end(page)
    second = context.new_page()
    second.goto(page.url)
    expect(answers(second)).to_have_count(1)
    ask(page, LONG)
    expect(answers(second)).to_have_count(2)
    assert growing_states(second, 2)
    assert wait_for_end(page) == wait_for_end(second) == stored(product, answers(page).last)[0]


def test_tomorrow_the_conversation_is_there_with_a_title_of_the_models_own(page, context, product):
    ask(page, "What is the capital of France?")
    text = wait_for_end(page)
    address = page.url
    expect(page.locator(f'a[href="{address.removeprefix(product.url)}"]').first).to_be_visible()
    conversation = address.rstrip("/").split("/")[-1].replace("-", "")
    eventually(lambda: product.query(TITLE_STATES, conversation), [("done",)], seconds=30)
    page.close()
    later = context.new_page()
    later.goto("/")
    title = product.query("select title from chat_conversation where id = ?", conversation)[0][0]
    later.get_by_role("link", name=title).first.click()
    expect(answers(later)).to_have_count(1)
    assert source(answers(later).last) == text


def test_a_second_person_gets_404_for_the_firsts_page_and_no_stream_from_the_socket(page, new_context, product):
    ask(page, LONG)
    growing_states(page, 1)
    answer = answers(page).last
    message, generation = (
        answer.get_attribute("data-message-id"),
        product.query("select id from chat_generation where kind = 'answer' order by created_at desc limit 1")[0][0],
    )
    other = new_context(product.url)
    stranger = other.new_page()
    slug = sign_up(stranger)
    response = stranger.goto(page.url)
    assert response.status == 404
    nowhere = stranger.goto(f"/w/nowhere/chat/{message}/")
    assert nowhere.status == 404
    stranger.goto(f"/w/{slug}/chat/")
    frames = stranger.evaluate(SUBSCRIBE, [slug, message, generation])
    assert [(frame["type"], frame["error"]["code"]) for frame in frames] == [("error", "not_found")]
    first_slug = page.url.split("/")[4]
    closed = stranger.evaluate(CLOSE_CODE, first_slug)
    assert closed == 4404


def test_the_connection_is_lost_and_found_without_a_reload(page, context, product):
    ask(page, LONG)
    assert growing_states(page, 2)
    context.set_offline(True)
    page.evaluate("() => dispatchEvent(new Event('offline'))")
    page.wait_for_timeout(1500)
    context.set_offline(False)
    assert wait_for_end(page) == stored(product, answers(page).last)[0]


def test_keyboard_alone_is_enough(page):
    page.get_by_label("Ask anything").focus()
    page.keyboard.type("hello")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("how are you?")
    assert page.get_by_label("Ask anything").input_value() == "hello\nhow are you?"
    page.keyboard.press("Enter")
    wait_for_end(page)
    expect(page.get_by_label("Ask anything")).to_have_value("")
    assert source(page.locator('[data-role="user"]').last) == "hello\nhow are you?"


def test_markdown_is_rendered_and_never_run(page, product):
    ask(page, 'Say <img src=x onerror="window.hacked=1"> <script>window.hacked=1</script>')
    wait_for_end(page)
    assert page.evaluate("() => window.hacked") is None
    assert page.locator('[data-role="user"] img').count() == 0
