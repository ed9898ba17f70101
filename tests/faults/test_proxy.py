"""nginx before the two web processes, of which one is gone, or hangs, or both are."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import aiohttp
import pytest

from scripts.programs import free_port, wait_for_port
from tests.faults.conftest import is_ready, make_key, wait_until
from tests.faults.tabs import Tab

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def front(cluster):
    """nginx's address."""
    port = free_port()
    nginx = cluster.make_nginx(port)
    nginx.start()
    wait_for_port(port)
    yield f"http://127.0.0.1:{port}"
    nginx.stop()


async def visit(session, front, path, **options):
    async with session.request(options.pop("method", "GET"), front + path, **options) as response:
        return response.status, response.headers, await response.text()


async def shake_hands(front, tab):
    await (await Tab(front).read_along(tab)).close()
    return 101


async def crowd(front, tab, key, seconds):
    """Statuses of what people and programs do for so long, a new connection each time."""
    until, found = time.monotonic() + seconds, []
    call = {"model": "fake", "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 2}

    async def act(number):
        while time.monotonic() < until:
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
                found.append((await visit(session, front, "/healthz"))[0])
                found.append((await visit(session, front, "/v1/models"))[0])
                found.append((await visit(session, front, "/accounts/login/"))[0])
                if number == 0:
                    found.append((await visit(session, front, "/v1/chat/completions", method="POST", json=call))[0])
                    found.append(await shake_hands(front, tab))
            await asyncio.sleep(0.02)

    await asyncio.gather(*(act(number) for number in range(8)))
    return found


async def test_of_two_web_processes_one_is_enough(cluster, people, front):
    (tab,) = await people(1)
    await tab.ask()
    await tab.read()
    key = make_key(cluster, tab)
    assert set(await crowd(front, tab, key, 1)) <= {200, 101, 429}
    cluster.webs[0].kill()
    statuses = await crowd(front, tab, key, 6)
    assert len(statuses) > 100
    assert set(statuses) <= {200, 101, 429}
    cluster.webs[0].start()
    await asyncio.to_thread(wait_until, lambda: is_ready(cluster.url(cluster.webs[0])), 60, "it again")
    assert set(await crowd(front, tab, key, 2)) <= {200, 101, 429}


async def test_one_that_hangs_keeps_few_waiting(cluster, people, front):
    await people(1)
    cluster.webs[0].signal(signal.SIGSTOP)
    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        answers = await asyncio.gather(*(visit(session, front, "/accounts/login/") for _ in range(40)))
    assert {status for status, _, _ in answers} == {200}, "asked of the other"
    assert time.monotonic() - began < 25


async def test_while_both_are_gone_each_door_says_so_in_its_own_shape_and_they_are_back_at_once(cluster, people, front):
    await people(1)
    for web in cluster.webs:
        web.kill()
    async with aiohttp.ClientSession() as session:
        for method in ("GET", "POST"):
            page = await visit(session, front, "/accounts/login/", method=method)
            assert (page[0], page[1]["Retry-After"], page[1]["Content-Type"]) == (503, "5", "text/html")
            assert "Not available just now" in page[2]
            assert "nginx" not in page[2]
            program = await visit(session, front, "/v1/chat/completions", method=method)
            assert (program[0], program[1]["Retry-After"]) == (503, "5")
            assert json.loads(program[2])["error"]["type"] == "server_error"
            api = await visit(session, front, "/api/v1/w/x/conversations/", method=method)
            assert (api[0], api[1]["Retry-After"]) == (503, "5")
            assert json.loads(api[2])["error"]["retry_after"] == 5
        style = next(part for part in page[2].split('"') if part.endswith(".css"))
        assert (await visit(session, front, style))[:1] == (200,), "the page has its style"
        for web in cluster.webs:
            web.start()
        await asyncio.to_thread(wait_until, lambda: is_ready(cluster.url(cluster.webs[1])), 60, "one of them")
        assert (await visit(session, front, "/accounts/login/"))[0] == 200
