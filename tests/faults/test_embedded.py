"""``manage.py serve`` with two engines, one of which is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.server import Product
from tests.faults.conftest import wait_until
from tests.faults.tabs import Tab

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(300)]

LONG = "Count from 1 to 50"  # the demo model writes hundreds of tokens here


@pytest.fixture
def product(tmp_path):
    product = Product(tmp_path / "var", environment={"CHATAPP_WORKERS": "2"})
    product.start()
    yield product
    product.stop()


def workers_of(product: Product) -> list[str]:
    """The ready ones, by the metrics."""
    with urllib.request.urlopen(product.url + "/metrics", timeout=5) as response:
        lines = response.read().decode().splitlines()
    engines = [line for line in lines if line.startswith('chatapp_workers{kind="answer"')]
    ready = [line for line in engines if 'state="ready"' in line]
    return sorted(line.partition('worker="')[2].partition('"')[0] for line in ready)


def engine(product: Product, name: str) -> int:
    """The process of the worker ``name``."""
    for pid in product.children():
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "inference.worker" in command and command[command.index("--name") + 1] == name:
            return pid
    raise AssertionError(f"no process of {name}")


def writer(product: Product) -> str:
    """The worker that writes the answer, or wrote it: noted a moment after its start, and again at its end."""
    name: str = product.query("select worker from chat_generation where kind = 'answer'")[0][0]
    return name


async def test_of_two_engines_one_is_killed_and_the_other_goes_on_with_its_answer_at_once(product):
    await asyncio.to_thread(wait_until, lambda: workers_of(product) == ["embedded", "embedded-2"], 60, "both engines")
    tab = await Tab(product.url).sign_up()
    await tab.ask(LONG)
    await tab.read(until=tab.has(3))
    assert tab.state == "streaming"
    await asyncio.to_thread(wait_until, lambda: writer(product), 10, "a note of who writes")
    began = writer(product)
    os.kill(engine(product, began), signal.SIGKILL)
    text = await asyncio.wait_for(tab.read(), 20)
    (stored,) = product.query("select text, state from chat_message where role = 'assistant'")
    assert (tab.state, tab.reconnects, stored) == ("done", 0, (text, "done"))
    ended = writer(product)
    assert {began, ended} == {"embedded", "embedded-2"}
    await asyncio.to_thread(wait_until, lambda: len(workers_of(product)) == 2, 60, "the killed one again")
    assert "The engine of " + began + " ended with -9" in product.log.read_text()
    await tab.close()
