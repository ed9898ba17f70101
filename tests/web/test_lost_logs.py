"""A page that reads an answer whose worker and whose log are both gone, over the transport in Redis."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.scoping import all_tenants
from chatapp.chat.models import Generation, KeptText
from chatapp.chat.sweeping import RESTORE_SECONDS, sweep_generations
from tests.conftest import report_ready
from tests.web.tabs import stored, text_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_titles")]


@pytest.fixture
def transport(redis_transport):
    return redis_transport


def lose(transport, memory):
    """All of it, and nobody tells it again."""
    memory.forget()
    report_ready(transport)
    memory.age(RESTORE_SECONDS + 1)
    Generation.everyone.update(created_at=timezone.now() - timedelta(seconds=60))


def sweep():
    with all_tenants():
        return sweep_generations()


def kept():
    return list(KeptText.everyone.values_list("text", flat=True))


async def until(condition):
    for _ in range(100):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it did not happen")


async def read_half(tab, work):
    accepted = await tab.ask()
    job = await work("take")
    await work("start", job)
    await work("write", job, "What I have ", "read")
    while text_of([await tab.one("tokens")])[-4:] != "read":
        pass
    await until(lambda: Generation.everyone.get().state == "running")
    return accepted["answer"]["id"]


async def test_what_a_page_has_shown_is_what_the_answer_has_in_the_end(tab, work, transport, memory):
    answer = await read_half(tab, work)
    await asyncio.to_thread(lose, transport, memory)
    await asyncio.to_thread(transport._scripts.client.client_kill_filter, _type="pubsub")  # as its restart does
    await until(lambda: kept() == ["What I have read"])
    assert await asyncio.to_thread(sweep) == {"interrupted": 1}
    end = await tab.one("resync")
    assert (end["text"], end["state"], end["can_continue"]) == ("What I have read", "interrupted", True)
    assert (await stored(answer)).text == "What I have read"


async def test_a_page_that_hears_of_the_end_too_late_makes_it_longer(tab, work, transport, memory):
    answer = await read_half(tab, work)
    await asyncio.to_thread(lose, transport, memory)
    assert await asyncio.to_thread(sweep) == {"interrupted": 1}
    assert (await stored(answer)).text == ""
    await asyncio.to_thread(transport._scripts.client.client_kill_filter, _type="pubsub")
    end = await tab.one("resync")
    assert (end["text"], end["state"]) == ("What I have read", "interrupted")
    assert (await stored(answer)).text == "What I have read"
