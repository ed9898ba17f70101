"""A connection that is refused, silent or closed, and what the page says of it."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import LONG, answers, ask, eventually, sign_up, stored, wait_for_end
from tests.e2e.people import box, notice

pytestmark = pytest.mark.e2e


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
