"""Who is who in the product's database, what they sent, and how they come and go at the page."""

from __future__ import annotations

import re
import uuid

from tests.e2e.conftest import PASSWORD

CHAT = """
    insert into chat_conversation (id, tenant_id, user_id, title, titled_by_hand, created_at, updated_at)
    values (?, ?, ?, ?, 1, ?, ?)
"""
MANY = 130
QUESTIONS = """
    select m.text from chat_message m join chat_conversation c on c.id = m.conversation_id
    where m.role = 'user' and c.tenant_id = ? order by m.created_at
"""


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


def log_in(page, slug, password=PASSWORD, to="**/chat/**"):
    page.get_by_label("Email").fill(f"{slug}@example.com")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(to)


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
