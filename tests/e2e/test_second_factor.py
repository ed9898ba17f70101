"""A second factor through the pages: an app's codes, recovery codes, passkeys from a virtual authenticator."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.authenticator_app import code_of
from tests.e2e.conftest import PASSWORD, sign_up
from tests.e2e.people import box, log_in, log_out, notice, tenant_of, user_of

pytestmark = pytest.mark.e2e


@pytest.fixture
def browser(product, new_context):
    """By the server's name: browsers know no passkeys of a number. Fails when the page breaks its policy."""
    context = new_context(product.url.replace("127.0.0.1", "localhost"), viewport={"width": 1280, "height": 800})
    said: list[str] = []
    context.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: said.append(str(error.error)))
    yield context
    assert [text for text in said if "Content Security" in text or "Error" in text] == []


@pytest.fixture
def page(browser):
    return browser.new_page()


@pytest.fixture
def name(page):
    return sign_up(page)


def open_second_factor(page):
    page.goto("/settings/")
    page.get_by_role("navigation", name="Settings").get_by_role("link", name="Second factor").click()


def say_who(page):
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()


def set_up_app(page):
    """Returns the app's key and the recovery codes."""
    open_second_factor(page)
    page.get_by_role("link", name="Set up an authenticator app").click()
    say_who(page)
    expect(page.get_by_role("img", name="to scan")).to_be_visible()
    secret = page.locator(".secret").inner_text()
    page.get_by_label("Code").fill(code_of(secret))
    page.get_by_role("button", name="Turn it on").click()
    expect(page.get_by_text("Your authenticator app is set up.")).to_be_visible()
    return secret, page.locator(".codes").inner_text().split()


def begin_login(page, name):
    log_out(page)
    page.goto("/accounts/login/")
    log_in(page, name, to="**/2fa/authenticate/")


def add_authenticator(browser, page, **options):
    cdp = browser.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    abilities = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    cdp.send(
        "WebAuthn.addVirtualAuthenticator",
        {"options": {**abilities, "isUserVerified": True, "automaticPresenceSimulation": True, **options}},
    )


def add_passkey(page, title, *, alone=True):
    open_second_factor(page)
    page.get_by_role("link", name="Add a passkey").click()
    if "reauthenticate" in page.url:
        say_who(page)
    page.get_by_label("Name").fill(title)
    page.get_by_label("Log in with it alone").set_checked(alone)
    page.get_by_role("button", name="Add the passkey").click()
    expect(page.get_by_text("Your passkey is added.")).to_be_visible()


def test_an_app_is_set_up_and_its_codes_log_in(page, name):
    secret, codes = set_up_app(page)
    assert len(codes) == 10
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.path().read_text().split() == codes
    page.reload()
    expect(page.locator(".codes")).to_have_count(0)
    begin_login(page, name)
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".field-error:visible")).to_have_count(1)
    page.get_by_label("Code").fill(code_of(secret, 1))
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/chat/**")
    begin_login(page, name)
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/chat/**")


def test_a_passkey_logs_in_alone_and_is_renamed_and_removed(browser, page, name):
    add_authenticator(browser, page)
    add_passkey(page, "Laptop")
    log_out(page)
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(re.compile(f"/w/{name}/chat/"))
    open_second_factor(page)
    page.get_by_role("link", name="Manage passkeys").click()
    page.get_by_role("link", name="Rename Laptop").click()
    say_who(page)
    page.get_by_label("Name").fill("Old laptop")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Remove Old laptop").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("You have no passkeys yet.")).to_be_visible()
    log_out(page)
    page.goto("/accounts/login/")
    log_in(page, name)


def test_a_key_without_a_pin_stands_beside_the_password(browser, page, name):
    add_authenticator(browser, page, transport="usb", hasUserVerification=False, isUserVerified=False)
    add_passkey(page, "Key ring", alone=False)
    begin_login(page, name)
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/chat/**")


def test_a_passkey_says_who_it_is_before_anything_is_changed(browser, page, name):
    add_authenticator(browser, page)
    add_passkey(page, "Laptop")
    log_out(page)
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/chat/**")
    open_second_factor(page)
    page.get_by_role("link", name="Make new ones").click()
    page.get_by_role("link", name="Use a passkey").click()
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_role("button", name="Make new ones").click()
    expect(page.locator(".codes")).to_have_count(1)


def test_without_a_passkey_the_page_says_that_nothing_came_of_it(browser, page, name):
    add_authenticator(browser, page)
    log_out(page)
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("Nothing came of it")).to_be_visible()
    expect(page.get_by_role("button", name="Use a passkey")).to_be_enabled()


def test_an_owner_asks_it_of_everybody_and_who_has_none_is_shown_where_to_set_one_up(product, new_context, page, name):
    other = new_context(product.url.replace("127.0.0.1", "localhost")).new_page()
    member = user_of(product, sign_up(other))
    product.execute(
        "insert into accounts_membership (user_id, tenant_id, role, created_at) values (?, ?, 'member', datetime())",
        member,
        tenant_of(product, name),
    )
    other.goto(f"/w/{name}/chat/")
    expect(box(other)).to_be_editable()
    page.goto(f"/w/{name}/settings/")
    choice = page.get_by_label("Second factor")
    choice.select_option("Required of everybody")
    expect(page.get_by_text("you would shut yourself out")).to_be_visible()
    set_up_app(page)
    page.goto(f"/w/{name}/settings/")
    choice.select_option("Required of everybody")
    expect(page.locator("#requires_mfa-state")).to_contain_text("Saved")
    expect(notice(other)).to_contain_text("This workspace now asks for a second factor", timeout=5_000)
    notice(other).get_by_role("link", name="Set one up").click()
    set_up_app(other)
    other.goto(f"/w/{name}/chat/")
    expect(box(other)).to_be_editable()


def test_who_comes_to_a_workspace_that_asks_for_it_reads_why(product, page, name):
    product.execute("update accounts_tenant set requires_mfa = 1 where id = ?", tenant_of(product, name))
    page.reload()
    expect(page.get_by_role("heading", name="This workspace asks for a second factor")).to_be_visible()
    page.get_by_role("link", name="Set one up").click()
    set_up_app(page)
    page.get_by_role("link", name="I have kept them").click()
    page.get_by_role("link", name="Back to chat").click()
    expect(box(page)).to_be_editable()
