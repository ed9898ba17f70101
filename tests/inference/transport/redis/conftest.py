"""A Redis server of the test's own, to be killed, and transports over it."""

from __future__ import annotations

import pytest

from inference.transport import RedisTransport
from tests.redis_server import RedisServer


@pytest.fixture
def server():
    server = RedisServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def connect(server):
    made = []

    def make(**settings) -> RedisTransport:
        made.append(RedisTransport(server.url, line_age=0, **settings))
        return made[-1]

    yield make
    for transport in made:
        transport.close()
