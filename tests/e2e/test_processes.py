"""The product as a process: it starts honestly, survives kill -9, and stops with all it started."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import LONG, answers, ask, eventually, sign_up, source, wait_for_end
from tests.e2e.server import Product

pytestmark = pytest.mark.e2e


@pytest.fixture
def own_product(tmp_path):
    """A product of the test's own, to be killed."""
    product = Product(tmp_path / "var")
    yield product
    product.stop()


def alive(pid: int) -> bool:
    """Running: not gone, and not a zombie that only waits to be counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_readiness_is_honest_and_a_stop_ends_every_child_within_five_seconds(own_product):
    own_product.start(wait=False)
    statuses = []
    deadline = time.monotonic() + 120
    while 200 not in statuses and time.monotonic() < deadline:
        statuses.append(own_product.status("/readyz"))
        time.sleep(0.05)
    assert 503 in statuses, "the pages are up, and say so, before the model is"
    assert own_product.status("/healthz") == 200
    children = own_product.children()
    assert children
    eventually(lambda: "Ready at" in own_product.log.read_text(), True)
    assert own_product.stop(signal.SIGINT) < 5
    assert [pid for pid in children if alive(pid)] == []


def test_after_kill_9_what_was_written_is_there_interrupted_and_can_go_on(own_product, new_context):
    own_product.start()
    context = new_context(own_product.url)
    page = context.new_page()
    sign_up(page)
    ask(page, LONG)
    expect(answers(page).last).to_have_attribute("data-state", "streaming")
    page.wait_for_function(
        "() => document.querySelector('[data-role=assistant]').sourceText.length > 40", timeout=20_000
    )
    seen = source(answers(page).last)
    own_product.stop(signal.SIGKILL)
    own_product.start()
    expect(answers(page).last).to_have_attribute("data-state", "interrupted", timeout=60_000)
    kept = source(answers(page).last)
    assert kept.startswith(seen)
    answer = own_product.query("select text, state from chat_message where role = 'assistant'")
    assert answer == [(kept, "interrupted")]
    assert own_product.query("select reserved from accounts_usageday") == [(0,)]
    answers(page).last.get_by_role("button", name="Continue").click()
    assert wait_for_end(page).startswith(kept)


def test_a_model_that_cannot_be_had_is_said_in_the_page_and_at_readyz(own_product, new_context):
    own_product.environment = {"CHATAPP_MODEL": "/nowhere/at/all"}
    own_product.start(wait=False)
    deadline = time.monotonic() + 60
    while "No model:" not in (own_product.log.read_text() if own_product.log.exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert own_product.status("/readyz") == 503
    context = new_context(own_product.url)
    page = context.new_page()
    sign_up(page)
    expect(page.get_by_text("There is no folder or file /nowhere/at/all").first).to_be_visible()
    page.get_by_label("Ask anything").fill("Are you there?")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Ask anything")).to_have_value("Are you there?")
    expect(answers(page)).to_have_count(0)


def test_a_bad_value_in_the_environment_stops_the_start_and_names_it(own_product):
    own_product.environment = {"CHATAPP_SLOTS": "many"}
    own_product.start(wait=False)
    own_product._process.wait(30)
    log = own_product.log.read_text()
    assert own_product._process.returncode != 0
    assert "CHATAPP_SLOTS='many' is not valid: expected a whole number from 1 to 1024." in log


def engine_of(product: Product) -> int:
    """The process id of the product's worker that answers."""
    listed = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in product.children()}
    return next(pid for pid, command in listed.items() if b"inference.worker" in command and b"--embed" not in command)


def test_after_kill_9_of_the_engine_the_answer_goes_on_by_itself(own_product, new_context):
    own_product.start()
    context = new_context(own_product.url)
    page = context.new_page()
    sign_up(page)
    ask(page, LONG)
    page.wait_for_function("() => document.querySelector('[data-role=assistant]').sourceText.length > 40")
    engine = engine_of(own_product)
    seen = source(answers(page).last)
    os.kill(engine, signal.SIGKILL)
    text = wait_for_end(page)
    assert text.startswith(seen)
    assert own_product.query("select text, state from chat_message where role = 'assistant'") == [(text, "done")]
    assert engine_of(own_product) != engine
    assert own_product.query("select reserved from accounts_usageday") == [(0,)]


def test_a_second_start_on_the_same_data_is_refused_and_harms_nothing(own_product):
    own_product.start()
    second = Product(own_product.var)
    second.start(wait=False)
    assert second._process.wait(30) != 0
    assert "chatapp is already running with the data in" in own_product.log.read_text()
    assert own_product.status("/readyz") == 200
