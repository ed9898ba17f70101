"""What a person sends: as themselves, once, as it was written; and what the page says when that cannot be."""

from __future__ import annotations

import json
import re
import uuid

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import LONG, PASSWORD, answers, ask, eventually, sign_up, source, stored, wait_for_end

pytestmark = pytest.mark.e2e

PLAIN_HTTP = """
    delete Crypto.prototype.randomUUID;
    Object.defineProperty(Navigator.prototype, "clipboard", { value: undefined });
"""  # what a page lacks that came over http from another machine
QUESTIONS = """
    select m.text from chat_message m join chat_conversation c on c.id = m.conversation_id
    where m.role = 'user' and c.tenant_id = ? order by m.created_at
"""
SPEAKERS = "select user_id, count(*) from chat_conversation where tenant_id = ? group by user_id"


def box(page):
    return page.get_by_label("Ask anything")


def notice(page):
    return page.locator("[data-controller=connection]")


def tenant_of(product, slug):
    return product.query("select id from accounts_tenant where slug = ?", slug)[0][0]


def user_of(product, slug):
    return product.query("select user_id from accounts_membership where tenant_id = ?", tenant_of(product, slug))[0][0]


def questions(product, slug):
    return [text for (text,) in product.query(QUESTIONS, tenant_of(product, slug))]


def log_out(page):
    page.goto("/accounts/logout/")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(re.compile(r"//[^/]+/$"))


def log_in(page, slug):
    page.get_by_label("Email").fill(f"{slug}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/chat/**")


@pytest.fixture
def colleagues(product, new_context):
    """Two members of the workspace of the first. Gives its slug (also the first's name) and the second's name."""
    first, second = (sign_up(new_context(product.url).new_page()) for _ in range(2))
    product.execute(
        "insert into accounts_membership (user_id, tenant_id, role, created_at) values (?, ?, 'member', datetime())",
        user_of(product, second),
        tenant_of(product, first),
    )
    return first, second


@pytest.fixture
def at_workspace(context, colleagues):
    """The first of two colleagues in their workspace, at a browser that both use."""
    page = context.new_page()
    page.goto(f"/w/{colleagues[0]}/chat/")
    log_in(page, colleagues[0])
    return page


def test_what_one_person_sent_in_vain_is_not_sent_by_the_next(at_workspace, context, colleagues, product):
    page, (first, second) = at_workspace, colleagues
    log_out(context.new_page())
    box(page).fill("Is my salary fair?")
    box(page).press("Enter")
    expect(notice(page)).to_contain_text("logged out")
    page.get_by_role("link", name="Log in").click()
    log_in(page, second)
    expect(page).to_have_url(re.compile(f"/w/{first}/chat/$"))
    expect(box(page)).to_have_value("")
    ask(page, "Hello from the second")
    wait_for_end(page)
    assert questions(product, first) == ["Hello from the second"]
    log_out(page)
    page.goto(f"/w/{first}/chat/")
    log_in(page, first)
    expect(answers(page)).to_have_count(1)
    wait_for_end(page)
    assert questions(product, first) == ["Hello from the second", "Is my salary fair?"]
    speakers = dict(product.query(SPEAKERS, tenant_of(product, first)))
    assert speakers == {user_of(product, first): 1, user_of(product, second): 1}


def test_a_page_of_one_person_sends_nothing_once_another_is_logged_in(at_workspace, context, colleagues, product):
    page, (first, second) = at_workspace, colleagues
    other = context.new_page()
    log_out(other)
    box(page).fill("Is my salary fair?")
    box(page).press("Enter")
    expect(notice(page)).to_contain_text("logged out")
    other.goto(f"/w/{first}/chat/")
    log_in(other, second)
    expect(box(other)).to_have_value("")
    page.bring_to_front()
    page.evaluate("() => dispatchEvent(new Event('focus'))")
    expect(notice(page)).to_contain_text("Somebody else has logged in")
    page.wait_for_timeout(500)
    assert questions(product, first) == []


def test_the_same_person_goes_on_after_logging_in_again_in_another_tab(at_workspace, context, colleagues, product):
    page, (first, _) = at_workspace, colleagues
    other = context.new_page()
    log_out(other)
    box(page).fill("Still me")
    box(page).press("Enter")
    expect(page.get_by_text("Sent once you have logged in again")).to_be_visible()
    other.goto(f"/w/{first}/chat/")
    log_in(other, first)
    page.evaluate("() => dispatchEvent(new Event('focus'))")
    expect(answers(page)).to_have_count(1)
    wait_for_end(page)
    assert questions(product, first) == ["Still me"]
    answers(page).last.get_by_role("button", name="Good response").click()
    expect(page.get_by_text("Thanks, noted")).to_be_visible()


def test_what_stands_in_a_tab_outlives_a_logout_in_another_one(at_workspace, context, colleagues):
    page, (first, second) = at_workspace, colleagues
    box(page).fill("half a thought")
    log_out(context.new_page())
    expect(notice(page)).to_contain_text("What you wrote here is kept for you")
    page.get_by_role("link", name="Log in").click()
    log_in(page, second)
    expect(box(page)).to_have_value("")
    log_out(page)
    page.goto(f"/w/{first}/chat/")
    log_in(page, first)
    expect(box(page)).to_have_value("half a thought")


def test_an_answer_in_a_tab_that_was_logged_out_is_no_longer_shown_as_being_written(at_workspace, context, colleagues):
    page, (first, _) = at_workspace, colleagues
    ask(page, LONG)
    expect(answers(page).last).to_have_attribute("data-state", "streaming")
    log_out(context.new_page())
    expect(notice(page)).to_contain_text("You have been logged out")
    wait_for_end(page, "unfollowed")
    expect(answers(page).last).to_contain_text("Log in to see the rest.")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    expect(answers(page).last.get_by_role("button", name="Continue")).to_be_hidden()
    page.get_by_role("link", name="Log in").click()
    log_in(page, first)
    assert wait_for_end(page)


def test_logging_out_takes_the_drafts_along(page, context):
    slug = page.url.split("/")[4]
    box(page).fill("a thought of mine")
    page.evaluate("localStorage.setItem('draft:old:new', 'nobody knows whose')")
    page.get_by_role("button", name="your menu").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(re.compile(r"//[^/]+/$"))
    kept = page.evaluate("JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage)])")
    assert "thought" not in kept
    assert "nobody" not in kept
    page.goto(f"/w/{slug}/chat/")
    log_in(page, slug)
    expect(box(page)).to_have_value("")


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


def test_a_subscription_refused_by_a_failing_database_is_asked_for_again(page, product):
    ask(page, LONG)
    expect(answers(page).last).to_have_attribute("data-state", "streaming")
    refused = []

    def serve(socket):
        server = socket.connect_to_server()

        def pass_on(frame):
            request = json.loads(frame)
            if request["type"] not in ("subscribe", "open") or len(refused) >= 4:
                return server.send(frame)
            refused.append(request["type"])
            error = {"code": "server_error", "message": "No.", "retry_after": None, "resets_at": None}
            return socket.send(json.dumps({"type": "error", "ref": request["ref"], "error": error}))

        socket.on_message(pass_on)

    page.route_web_socket("**/ws/**", serve)
    page.reload()
    text = wait_for_end(page)
    assert len(refused) == 4
    assert set(refused) == {"open", "subscribe"}
    assert text == stored(product, answers(page).last)[0]


def test_the_page_says_what_has_become_of_its_connection(context, product):
    routes = []
    page = context.new_page()
    sign_up(page)
    page.route_web_socket("**/ws/**", lambda socket: routes.append((socket, socket.connect_to_server())))
    page.reload()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    eventually(lambda: len(routes), 1)
    silence(routes[0])
    context.set_offline(True)
    expect(notice(page)).to_contain_text("You are offline", timeout=5_000)
    context.set_offline(False)
    expect(notice(page)).to_be_hidden()


def silence(route):
    """A network that is gone: nothing arrives any more, and nobody is told."""
    for end in route:
        end.on_message(lambda frame: None)


@pytest.mark.parametrize(
    ("code", "words", "link"),
    [
        (4401, "You have been logged out", "Log in"),
        (4404, "no longer a member", "Your workspaces"),
        (4429, "too many pages open here", "Your workspaces"),
    ],
)
def test_a_door_that_closed_says_so_and_names_the_way_on(context, product, code, words, link):
    page = context.new_page()
    slug = sign_up(page)
    page.route_web_socket("**/ws/**", lambda socket: socket.close(code=code))
    page.reload()
    expect(notice(page)).to_contain_text(words)
    way = notice(page).get_by_role("link", name=link)
    expect(way).to_have_attribute("href", f"/accounts/login/?next=%2Fw%2F{slug}%2Fchat%2F" if code == 4401 else "/")
    box(page).fill("kept")
    box(page).press("Enter")
    expect(page.locator("#composer-hint")).not_to_be_empty()
    page.unroute_all()
    page.reload()
    expect(box(page)).to_have_value("kept")


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


def new_chat(page, product, text):
    page.goto(f"/w/{page.url.split('/')[4]}/chat/")
    ask(page, text)
    wait_for_end(page)
    return page.url.removeprefix(product.url)


def delete(page, address):
    item = page.locator(f'li:has(a[href="{address}"])').first
    item.hover()
    item.get_by_role("button").first.click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(f'a[href="{address}"]')).to_have_count(0)


def test_each_of_two_deletions_can_be_undone(page, product):
    first, second = (new_chat(page, product, text) for text in ("hello", "hello again"))
    page.goto(f"/w/{page.url.split('/')[4]}/chat/")
    delete(page, first)
    delete(page, second)
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_have_count(2)
    undo.first.click()
    expect(page.locator(f'a[href="{first}"]')).to_have_count(1)
    undo.first.click()
    expect(page.locator(f'a[href="{second}"]')).to_have_count(1)
    deleted = "select count(*) from chat_conversation where deleted_at is not null and id in (?, ?)"
    ids = [uuid.UUID(address.rstrip("/").split("/")[-1]).hex for address in (first, second)]
    eventually(lambda: product.query(deleted, *ids), [(0,)])


def test_a_chat_that_was_deleted_in_another_tab_says_so_and_can_be_brought_back(page, context, product):
    address = new_chat(page, product, "hello")
    other = context.new_page()
    other.goto(address)
    expect(answers(other)).to_have_count(1)
    delete(other, address)
    toast = page.locator(".toast")
    expect(toast).to_contain_text("was deleted in another tab")
    expect(answers(page)).to_have_count(0)
    toast.get_by_role("button", name="Undo").click()
    page.wait_for_url(f"**{address}")
    expect(answers(page)).to_have_count(1)
    expect(other.locator(".toast")).not_to_contain_text("another tab")


def test_a_deletion_that_failed_leaves_the_chat_and_another_tabs_is_told(page, context, product):
    address = new_chat(page, product, "hello")
    fail = lambda route: route.abort() if route.request.method == "DELETE" else route.continue_()  # noqa: E731
    page.route("**/api/**", fail)
    item = page.locator(f'li:has(a[href="{address}"])')
    item.hover()
    item.get_by_role("button").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("cannot be reached")
    expect(item).to_be_visible()
    expect(answers(page)).to_have_count(1)
    other = context.new_page()
    other.goto(address)
    expect(answers(other)).to_have_count(1)
    delete(other, address)
    expect(page.locator(".toast", has_text="was deleted in another tab")).to_be_visible()
    expect(item).to_have_count(0)


def test_a_chat_that_was_deleted_while_this_page_was_away_says_so(page, product):
    address = new_chat(page, product, "hello")
    conversation = uuid.UUID(address.rstrip("/").split("/")[-1]).hex
    gone = "update chat_conversation set deleted_at = datetime() where id = ?"
    page.reload(wait_until="commit")
    product.execute(gone, conversation)
    expect(page.locator(".toast")).to_contain_text("deleted in another tab")
