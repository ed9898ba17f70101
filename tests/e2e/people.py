"""Who is who in the product's database, what they sent, and how they come and go at the page."""

from __future__ import annotations

import re

from tests.e2e.conftest import PASSWORD

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


def log_in(page, slug):
    page.get_by_label("Email").fill(f"{slug}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/chat/**")
