"""What a browser keeps when its login ends elsewhere: nothing. On the embedded product, with SQLite."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.e2e

# A socket of the page's own, beside the product's: the code it was closed with.
OPEN = """
() => new Promise((resolve) => {
  const address = `${location.origin.replace("http", "ws")}/ws/w/${location.pathname.split("/")[2]}/`;
  const socket = new WebSocket(address);
  window.closedWith = new Promise((closed) => socket.addEventListener("close", (event) => closed(event.code)));
  socket.addEventListener("message", resolve, { once: true });
})
"""


def log_out(page, product):
    other = page.context.new_page()
    other.goto("/accounts/logout/")
    other.get_by_role("button", name="Log out").click()


def remove(page, product):
    slug = page.url.split("/")[4]
    product.execute(
        "delete from accounts_membership where tenant_id = (select id from accounts_tenant where slug = ?)", slug
    )


@pytest.mark.parametrize(("act", "code"), [(log_out, 4401), (remove, 4404)])
def test_an_open_socket_ends_within_five_seconds(page, product, act, code):
    page.evaluate(OPEN)
    act(page, product)
    began = time.monotonic()
    assert page.evaluate("() => window.closedWith") == code
    assert time.monotonic() - began < 5
