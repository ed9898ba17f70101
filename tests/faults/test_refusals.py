"""A Redis that answers and refuses, as one does in a failover, without its replicas, or when it is full."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request

import pytest

from tests.fake_upstream import words
from tests.faults.conftest import LENGTH, is_ready, query, wait_until, wait_until_well
from tests.redis_server import accept, refuse

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
long = pytest.mark.long

TITLES = "SELECT count(*) FROM chat_generation WHERE kind = 'title' AND state = 'done'"


@pytest.mark.parametrize("how", ["readonly", pytest.param("noreplicas", marks=long), pytest.param("oom", marks=long)])
async def test_redis_refuses_for_a_while_and_everything_comes_back_by_itself(cluster, people, how):
    pids = {program.name: program.pid for program in cluster.programs()}
    tabs = await people(2)
    for tab in tabs:
        await tab.ask()
    await asyncio.gather(*(tab.read(until=tab.has(10)) for tab in tabs))
    refuse(cluster.redis_url, how)
    await asyncio.sleep(5)
    (new,) = await people(1)  # signed up, at a page, with a socket
    await new.ask()
    assert (new.error["code"], new.error["retry_after"]) == ("no_worker", 15)
    assert not await asyncio.to_thread(is_ready, cluster.url(cluster.webs[0]))
    assert await asyncio.to_thread(call, cluster) == (401, "invalid_api_key")
    accept(cluster.redis_url)
    await asyncio.to_thread(wait_until_well, cluster)
    assert await asyncio.gather(*(tab.read() for tab in tabs)) == [words(LENGTH)] * 2
    titles = query(cluster, TITLES)[0][0]
    await new.ask()
    assert await new.read() == words(LENGTH)
    began = time.monotonic()
    await asyncio.to_thread(wait_until, lambda: query(cluster, TITLES)[0][0] > titles, 40, "the new title")
    assert {program.name: program.pid for program in cluster.programs() if program.running} == pids, began


def call(cluster) -> tuple[int, str]:
    """What a program gets whose key is unknown."""
    import json

    request = urllib.request.Request(f"{cluster.url(cluster.webs[0])}/v1/models", headers={"Authorization": "Bearer x"})
    try:
        urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]["code"]
    raise AssertionError("let in without a key")
