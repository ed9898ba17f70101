"""The suite's own browser: one that hangs is replaced."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.chromium import Chromium

pytestmark = pytest.mark.e2e


@pytest.fixture
def impatient(chromium):
    """A browser of the test's own, which is killed after a second."""
    impatient = Chromium(chromium.playwright, patience=1.0)
    yield impatient
    impatient.close()


def title(context):
    page = context.new_page()
    page.goto("data:text/html,<title>alive</title>")
    return page.title()


def test_a_context_that_does_not_close_costs_its_browser_and_the_next_has_another(impatient):
    context = impatient.new_context()
    assert title(context) == "alive"
    hung = impatient.group
    os.killpg(hung, signal.SIGSTOP)
    with pytest.warns(UserWarning, match="A context did not close"):
        impatient.close_context(context)
    assert title(impatient.new_context()) == "alive"
    assert impatient.group != hung


def test_where_the_browser_gives_no_context_another_does(impatient):
    impatient.new_context()
    hung = impatient.group
    os.killpg(hung, signal.SIGSTOP)
    with pytest.warns(UserWarning, match="No context"):
        context = impatient.new_context()
    assert title(context) == "alive"
    assert impatient.group != hung


def test_a_browser_that_does_not_close_is_ended(impatient):
    impatient.new_context()
    hung = impatient.group
    os.killpg(hung, signal.SIGSTOP)
    with pytest.warns(UserWarning, match="The browser did not close"):
        impatient.close()
    assert title(impatient.new_context()) == "alive"
    assert impatient.group != hung


def test_a_browser_that_is_well_stays(impatient):
    first = impatient.new_context()
    group = impatient.group
    impatient.close_context(first)
    assert title(impatient.new_context()) == "alive"
    assert impatient.group == group
