"""Many bodies read with one look."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

from inference.writers.relay.sweep import Sweep


class Heard:
    """What was taken of a body, until it is ``most`` parts."""

    def __init__(self, sweep: Sweep, most: int = 99) -> None:
        self.parts: list[bytes] = []
        self._most = most
        protocol = BaseProtocol(asyncio.get_running_loop())
        protocol.connection_made(asyncio.Transport())
        self.body = StreamReader(protocol, 2**16)
        self.task = asyncio.create_task(sweep.read(self.body, self._take))

    def _take(self, data: bytes) -> bool:
        self.parts.append(data)
        return len(self.parts) == self._most


@pytest.fixture
def news():
    return []


@pytest.fixture
def sweep(news):
    return Sweep(lambda: news.append("news"))


async def settle():
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_part_is_taken_at_once_and_later_ones_with_a_look(sweep, news):
    one, other = Heard(sweep), Heard(sweep)
    await settle()
    for heard in (one, other):
        heard.body.feed_data(b"a")
    await settle()
    assert (one.parts, other.parts, len(news)) == ([b"a"], [b"a"], 2)
    one.body.feed_data(b"b")
    one.body.feed_data(b"c")
    other.body.feed_data(b"d")
    await settle()
    assert (one.parts, other.parts) == ([b"a"], [b"a"])
    assert sweep.look()
    assert (one.parts, other.parts, len(news)) == ([b"a", b"bc"], [b"a", b"d"], 3)
    assert not sweep.look()
    assert len(news) == 3
    one.body.feed_eof()
    other.body.feed_eof()
    assert sweep.look()
    await asyncio.gather(one.task, other.task)
    assert not sweep.look()


async def test_what_came_before_the_connection_was_lost_is_taken(sweep):
    heard = Heard(sweep)
    await settle()
    heard.body.feed_data(b"a")
    await settle()
    heard.body.feed_data(b"b")
    heard.body.set_exception(ConnectionResetError("gone"))
    assert sweep.look()
    with pytest.raises(ConnectionResetError, match="gone"):
        await heard.task
    assert heard.parts == [b"a", b"b"]


async def test_a_body_of_which_there_is_enough_is_left(sweep):
    heard = Heard(sweep, most=2)
    await settle()
    heard.body.feed_data(b"a")
    await settle()
    heard.body.feed_data(b"b")
    assert sweep.look()
    await heard.task
    heard.body.feed_data(b"c")
    assert not sweep.look()
    assert heard.parts == [b"a", b"b"]


async def test_what_cannot_be_taken_is_raised_where_it_is_read_and_nowhere_else(sweep):
    bad, good = Heard(sweep), Heard(sweep)
    await settle()
    for heard in (bad, good):
        heard.body.feed_data(b"a")
    await settle()
    bad.parts = None  # type: ignore[assignment]
    for heard in (bad, good):
        heard.body.feed_data(b"b")
    assert sweep.look()
    with pytest.raises(AttributeError):
        await bad.task
    assert good.parts == [b"a", b"b"]
    good.task.cancel()
    await settle()
    good.body.feed_data(b"c")
    assert not sweep.look()
