"""The admin in a browser: its landmarks, and boxes that can be read in both themes."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import PASSWORD
from tests.e2e.crowd import tell

pytestmark = pytest.mark.e2e

MAKE_ADMIN = f"""
from accounts.models import User
from accounts.services import create_person
user = User(email="root@example.com", is_staff=True, is_superuser=True)
user.set_password("{PASSWORD}")
create_person(user=user, verified=True)
"""
COLOURS = (
    "box => { const style = getComputedStyle(box); return [style.color, style.backgroundColor, style.borderColor]; }"
)


def test_the_admin_has_landmarks_and_legible_boxes_and_refuses_a_weak_password(context, product):
    tell(product, MAKE_ADMIN)
    page = context.new_page()
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill("root@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/w/root/chat/")
    for path in ("/admin/", "/admin/accounts/user/", "/admin/chat/generation/", "/admin/accounts/user/add/"):
        page.goto(path)
        for role in ("main", "navigation", "complementary", "banner"):
            expect(page.get_by_role(role)).to_have_count(1)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        text, email = page.get_by_label("Password").evaluate(COLOURS), page.get_by_label("Email").evaluate(COLOURS)
        assert text == email
        assert text[0] not in text[1:]
    page.get_by_label("Email").fill("new@example.com")
    page.get_by_label("Password").fill("1")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("This password is too short")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()
    new = product.query(
        "select count(*) from accounts_membership m join accounts_user u on u.id = m.user_id "
        "where u.email = 'new@example.com' and m.role = 'owner'"
    )
    assert new == [(1,)]
