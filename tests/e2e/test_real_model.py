"""What ``make run`` serves when nothing is said: the packaged model, under its own name."""

from __future__ import annotations

import json
import urllib.request

import pytest
from playwright.sync_api import expect

from chatapp.web.suggestions import suggestions
from tests.e2e.conftest import answers, ask, sign_up, wait_for_end
from tests.e2e.server import Product

pytestmark = pytest.mark.e2e
NAME, LABEL = "smollm2-135m-instruct", "SmolLM2 135M Instruct"


@pytest.fixture(scope="module")
def real_product(tmp_path_factory):
    product = Product(tmp_path_factory.mktemp("real") / "var", environment={"CHATAPP_MODEL": ""})
    product.start()
    yield product
    product.stop()


def test_the_packaged_model_answers_under_its_own_name(real_product, new_context):
    page = new_context(real_product.url, viewport={"width": 1280, "height": 800}).new_page()
    sign_up(page)
    expect(page.locator(".model-name")).to_have_text(LABEL)
    expect(page.locator(".fine-print")).to_be_visible()
    expect(page.locator(".fine-print")).to_have_text(
        "A small model: quick, and often wrong about facts. 135 million parameters, Apache-2.0."
    )
    offered = page.get_by_role("list", name="Suggestions").get_by_role("button")
    assert tuple(offered.all_inner_texts()) == suggestions(NAME)
    ask(page, "What is the capital of France?")
    assert "Paris" in wait_for_end(page)
    expect(answers(page)).to_have_count(1)
    assert real_product.query("select model from chat_generation where kind = 'answer'") == [(NAME,)]


def test_no_path_is_told_and_the_next_start_converts_nothing(real_product):
    assert "Converting SmolLM2-135M-Instruct" in real_product.log.read_text()
    assert f"({LABEL}, Apache-2.0)" in real_product.log.read_text()
    real_product.stop()
    before = real_product.log.stat().st_size
    real_product.start()
    said = real_product.log.read_bytes()[before:].decode()
    assert "Converting" not in said
    with urllib.request.urlopen(real_product.url + "/readyz", timeout=5) as response:
        assert str(real_product.var) not in json.dumps(json.load(response))
