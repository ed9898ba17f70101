"""Plans, ratings, reports, preferences: the thin apps, through the browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from chatapp.chat import prompts
from tests.e2e.conftest import answers, ask, eventually, stored, wait_for_end

pytestmark = pytest.mark.e2e

TINY_PLAN = """
    insert into accounts_plan (code, name, position, tokens_per_day, concurrent_answers, weight,
                               max_context_tokens, max_output_tokens)
    values ('tiny', 'Tiny', 9, 200, 2, 1, 4096, 64)
"""


def tenant_of(page, product):
    slug = page.url.split("/")[4]
    return product.query("select id, plan_id from accounts_tenant where slug = ?", slug)[0]


def test_out_of_tokens_the_page_says_when_and_keeps_the_draft(page, product):
    tenant, _ = tenant_of(page, product)
    product.execute(TINY_PLAN)
    product.execute("update accounts_tenant set plan_id = (select max(id) from accounts_plan) where id = ?", tenant)
    ask(page, "hello")
    wait_for_end(page)
    draft = "this one is too much " * 12
    ask(page, draft, accepted=False)
    alert = page.get_by_role("alert").filter(has_text="00:00 UTC")
    expect(alert).to_be_visible()
    expect(page.get_by_label("Ask anything")).to_have_value(draft)
    expect(answers(page)).to_have_count(1)
    reserved = product.query("select reserved from accounts_usageday where tenant_id = ?", tenant)
    assert reserved == [(0,)]


def ratings(product, page):
    tenant, _ = tenant_of(page, product)
    return product.query("select value, comment from feedback_rating where tenant_id = ?", tenant)


def test_rate_undo_and_see_the_report_change_after_the_roll_up(page, product):
    ask(page, "hello")
    wait_for_end(page)
    answer = answers(page).last
    good = answer.get_by_role("button", name="Good response")
    good.click()
    expect(good).to_have_attribute("aria-pressed", "true")
    eventually(lambda: ratings(product, page), [(1, "")])
    good.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Remove rating").click()
    expect(good).to_have_attribute("aria-pressed", "false")
    eventually(lambda: ratings(product, page), [])

    answer.get_by_role("button", name="Bad response").click()
    expect(dialog).to_be_visible()
    dialog.get_by_role("textbox").fill("Not what I asked.")
    page.keyboard.press("Escape")
    eventually(lambda: ratings(product, page), [(-1, "Not what I asked.")])

    tenant, _ = tenant_of(page, product)
    rolled = "select answers, rated, up, down from feedback_dailyrating where tenant_id = ?"
    eventually(lambda: product.query(rolled, tenant), [(1, 1, 0, 1)], seconds=75)
    slug = page.url.split("/")[4]
    page.goto(f"/w/{slug}/reports/")
    expect(page.get_by_text("Not what I asked.")).to_be_visible()
    expect(page.get_by_text("1 of 1").first).to_be_visible()


def test_theme_and_instructions_are_saved_and_reach_the_prompt(page, product):
    slug = page.url.split("/")[4]
    page.goto("/settings/")
    expect(page.locator("html")).to_have_attribute("data-theme", "auto")
    choose_dark(page)
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto("/settings/personalization/")
    page.get_by_label("What should the assistant know about you?").fill("My name is Ana.")
    expect(page.get_by_text("Saved", exact=False).first).to_be_visible()
    tenant = product.query("select id from accounts_tenant where slug = ?", slug)[0][0]
    owner = product.query("select user_id from accounts_membership where tenant_id = ?", tenant)[0][0]
    eventually(
        lambda: product.query("select theme, about from accounts_preferences where user_id = ?", owner),
        [("dark", "My name is Ana.")],
    )
    page.goto(f"/w/{slug}/chat/")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    ask(page, "What is my name?")
    text = wait_for_end(page)
    assert stored(product, answers(page).last)[0] == text
    assert "Ana" in text
    made = product.query(
        "select prompt_version, prompt_tokens from chat_generation where tenant_id = ? and kind = 'answer'",
        tenant,
    )
    assert made[0][0] == prompts.VERSION
    assert made[0][1] > 25


def choose_dark(page):
    control = page.get_by_label("Theme", exact=True)
    if control.count() and control.first.evaluate("element => element.tagName") == "SELECT":
        control.first.select_option("dark")
    else:
        page.get_by_role("radio", name="Dark").first.check(force=True)


def test_the_page_says_that_it_is_the_demo_model_and_how_to_set_a_real_one(page):
    expect(page.get_by_text("make run MODEL=Qwen/Qwen3-0.6B").first).to_be_visible()


def test_rename_delete_and_undo(page, product):
    ask(page, "hello")
    wait_for_end(page)
    address = page.url.removeprefix(product.url)
    item = page.locator(f'li:has(a[href="{address}"])').first
    item.hover()
    item.get_by_role("button").first.click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(f'a[href="{address}"]')).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    conversation = address.rstrip("/").split("/")[-1].replace("-", "")
    eventually(
        lambda: product.query("select deleted_at from chat_conversation where id = ?", conversation),
        [(None,)],
    )
    page.wait_for_url(f"**{address}")
    expect(answers(page)).to_have_count(1)
