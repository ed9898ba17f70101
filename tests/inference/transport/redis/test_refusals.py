"""A server that answers and refuses: a replica, one without its replicas, one without memory."""

from __future__ import annotations

import time

import pytest
import redis

from inference.errors import TransportUnavailable
from inference.messages import WorkerReport
from inference.transport import is_away
from inference.worker.link import Link
from tests.inference.logs import wait_until
from tests.inference.transport.redis.jobs import STARTED, claimed, job, read, text
from tests.redis_server import REFUSALS


@pytest.mark.parametrize("how", REFUSALS)
def test_a_server_that_refuses_is_away_for_every_verb_and_comes_back(server, connect, how):
    transport = connect()
    transport.submit(job("g"))
    (claim,) = transport.claim("w", 1, 100)
    transport.submit(job("h"))
    server.refuse(how)
    report = WorkerReport("w", "ready", model="m", at=time.time())
    verbs = [
        lambda: transport.submit(job("i")),
        lambda: transport.claim("w", 1, 100),
        lambda: transport.publish("w", {"g": [STARTED]}),
        lambda: transport.restore("w", claim, [STARTED]),
        lambda: transport.renew("w", report),
        lambda: transport.hand_back("w", ["g"]),
        lambda: transport.cancel("h"),
        lambda: transport.release("g"),
    ]
    for verb in verbs:
        with pytest.raises(TransportUnavailable, match=str(server.port)):
            verb()
    server.accept()
    assert transport.publish("w", {"g": [STARTED]}) == frozenset()
    assert claimed(transport) == ["h"]


@pytest.mark.parametrize("how", REFUSALS)
def test_a_link_outlasts_a_server_that_refuses(server, connect, how):
    transport = connect()
    link = Link(transport, "w")
    link.start()
    transport.submit(job("g"))
    link.beat(8, 1000, busy=False)
    wait_until(lambda: link.take()[0])
    server.refuse(how)
    link.publish({"g": [STARTED, text(2, "a")]})
    time.sleep(1)
    server.accept()
    wait_until(lambda: len(read(transport, "g")) == 2)
    link.close()


def contents(server):
    """Every key, as the server would give it to another."""
    return {key: server.command("DUMP", key) for key in server.command("KEYS", "*")}


@pytest.mark.parametrize("how", ["oom", "readonly"])
def test_what_a_server_refuses_is_not_done_by_half(server, connect, how):
    """A job told again, or handed back, first leaves where it stood, which needs no memory, and the rest does."""
    transport = connect()
    transport.submit(job("waits"))
    (claim,) = transport.claim("w", 1, 100)
    transport.hand_back("w", ["waits"])
    transport.submit(job("held"))
    assert transport.stats().waiting == 2
    assert claimed(transport, "x") != []
    before = contents(server)
    server.refuse(how)
    for verb in (
        lambda: transport.restore("w", claim, [STARTED]),
        lambda: transport.hand_back("x", ["held", "waits"]),
        lambda: transport.cancel("waits"),
        lambda: transport.release("waits"),
        lambda: transport.claim("w", 8, 100),
    ):
        with pytest.raises(TransportUnavailable):
            verb()
    server.accept()
    assert contents(server) == before


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (
            redis.ResponseError("MISCONF Redis is configured to save RDB snapshots, but is unable to"),
            True,
        ),
        (redis.ResponseError("BUSY Redis is busy running a script."), True),
        (redis.ResponseError("Error running script (call to f_1): @user_script:1: -READONLY You can't write"), True),
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), True),
        (redis.exceptions.MasterDownError("Link with MASTER is down"), True),
        (redis.exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"), True),
        (redis.exceptions.MovedError("3999 127.0.0.1:6381"), True),
        (ConnectionResetError(), True),
        (redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), False),
        (redis.ResponseError("BUSYGROUP Consumer Group name already exists"), False),
        (redis.exceptions.NoPermissionError("this user has no permissions"), False),
        (redis.ResponseError("unknown command 'READONLYISH'"), False),
        (ValueError("READONLY "), False),
    ],
)
def test_what_passes_is_told_from_what_is_wrong_with_us(error, expected):
    assert is_away(error) is expected
