"""The server's absence: away, without its memory, hung."""

from __future__ import annotations

import os
import signal
import time

import pytest
import redis

from inference.errors import TransportUnavailable, UnknownGeneration
from inference.messages import Ended
from inference.transport import RedisTransport
from inference.transport.redis_scripts import Settings
from inference.worker.link import Link
from tests.inference.logs import wait_until
from tests.inference.transport.redis.jobs import STARTED, claimed, job, read, text
from tests.redis_server import Memory


def test_a_server_that_is_away_is_said_to_be_and_found_again(server, connect):
    transport = connect()
    server.kill()
    with pytest.raises(TransportUnavailable, match=str(server.port)):
        transport.submit(job("g"))
    with pytest.raises(TransportUnavailable):
        transport.claim("w", 1, 100, wait=0.2)
    server.start()
    transport.submit(job("g"))
    assert claimed(transport) == ["g"]


def test_a_password_is_not_in_the_message_that_a_server_is_away():
    transport = RedisTransport("redis://user:geheim@127.0.0.1:1/0")
    with pytest.raises(TransportUnavailable) as refusal:
        transport.stats()
    assert "geheim" not in str(refusal.value)


def test_a_server_that_restarts_empty_is_told_again_what_a_worker_writes(server, connect):
    transport = connect()
    link = Link(transport, "w")
    link.start()
    for name in ("written", "ended", "silent"):
        transport.submit(job(name))
    link.beat(8, 1000, busy=False)
    claims = []
    wait_until(lambda: claims.extend(link.take()[0]) or len(claims) == 3)
    link.publish({"written": [STARTED, text(2, "a")], "ended": [STARTED, text(2, "x"), Ended(3, "stop", 1)]})
    wait_until(lambda: len(read(transport, "ended")) == 3)
    server.kill()
    link.publish({"written": [text(3, "b")]})
    time.sleep(0.2)
    server.start()
    link.publish({"written": [text(4, "c")]})
    wait_until(lambda: len(read(transport, "written")) == 4)
    assert read(transport, "written") == [STARTED, text(2, "a"), text(3, "b"), text(4, "c")]
    wait_until(lambda: len(read(transport, "ended")) == 3)
    assert read(transport, "ended")[-1] == Ended(3, "stop", 1)
    wait_until(lambda: transport.stats().running == 2)
    assert transport.log("silent") == []
    link.publish({"written": [Ended(5, "stop", 3)]})
    wait_until(lambda: len(transport.log("written")) == 5)
    link.close()


def test_an_end_that_a_replica_had_not_heard_of_when_it_took_over_is_told_to_it(server, connect):
    """Nobody else knows of it: no reader, and the database has not asked yet."""
    transport, memory = connect(), Memory(server.url, Settings(server.url).prefix)
    link = Link(transport, "w")
    link.start()
    transport.submit(job("g"))
    link.beat(8, 1000, busy=False)
    wait_until(lambda: link.take()[0])
    link.publish({"g": [STARTED, text(2, "a")]})
    wait_until(lambda: len(read(transport, "g")) == 2)
    memory.replicate()
    link.publish({"g": [text(3, "b"), Ended(4, "stop", 2)]})
    wait_until(lambda: len(read(transport, "g")) == 4)
    server.refuse("readonly")  # it is a replica now
    server.accept()  # and then the one that all turn to, with a history of its own
    memory.fail_over()
    wait_until(lambda: len(read(transport, "g")) == 4)
    assert transport.stats().running == 0
    link.close()


def test_an_end_that_was_told_to_a_server_behind_is_not_told_to_the_next_one(server, connect, monkeypatch):
    """A replica takes over that has not heard of the job: it is told of its end with the whole log."""
    monkeypatch.setattr("inference.worker.kept_logs.KEEP_SECONDS", 1.5)
    transport = connect()
    link = Link(transport, "w")
    link.start()
    transport.submit(job("g"))
    link.beat(8, 1000, busy=False)
    wait_until(lambda: link.take()[0])
    link.publish({"g": [STARTED]})
    wait_until(lambda: len(read(transport, "g")) == 1)
    with redis.Redis.from_url(server.url) as client:
        assert client.delete("{chatapp}:job:g", "{chatapp}:log:g") == 2
    link.publish({"g": [text(2, "a"), Ended(3, "stop", 1)]})
    wait_until(lambda: len(read(transport, "g")) == 3)
    beat_for(link, 3.5)
    server.kill()
    server.start()
    beat_for(link, 3)
    with pytest.raises(UnknownGeneration):
        transport.log("g")
    link.close()


def beat_for(link, seconds):
    until = time.monotonic() + seconds
    wait_until(lambda: link.beat(8, 1000, busy=False) or time.monotonic() > until)


def test_events_that_could_not_be_sent_for_a_fault_are_told_again(connect, monkeypatch):
    transport = connect()
    link = Link(transport, "w")
    link.start()
    transport.submit(job("g"))
    link.beat(8, 1000, busy=False)
    wait_until(lambda: link.take()[0])
    publish = transport.publish

    def fail(worker, events):
        monkeypatch.setattr(transport, "publish", publish)
        raise ValueError("a fault of ours")

    monkeypatch.setattr(transport, "publish", fail)
    link.publish({"g": [STARTED, text(2, "a"), Ended(3, "stop", 1)]})
    wait_until(lambda: len(read(transport, "g")) == 3)
    link.close()


def test_a_job_that_was_queued_again_meanwhile_goes_on_where_it_was(server, connect):
    """The web may be faster than the worker to tell a server without memory."""
    transport = connect()
    transport.submit(job("g"))
    (claim,) = transport.claim("w", 1, 100)
    server.kill()
    server.start()
    transport.submit(job("g"))
    assert transport.restore("w", claim, [STARTED, text(2, "a")])
    assert transport.position("g") is None
    assert claimed(transport, "other") == []
    assert transport.log("g") == [STARTED, text(2, "a")]
    assert not transport.restore("other", claim, [STARTED, text(2, "ghost")])


def test_the_second_writer_of_a_job_tells_the_first_ones_tokens_too(server, connect):
    transport = connect(clock=lambda: now[0])
    now = [100.0]
    transport.submit(job("g"))
    transport.claim("first", 1, 100)
    transport.publish("first", {"g": [STARTED, text(2, "a")]})
    now[0] += 16
    (claim,) = transport.claim("second", 1, 100)
    server.kill()
    server.start()
    assert transport.restore("second", claim, [*claim.log, text(3, "b")])
    assert transport.log("g") == [STARTED, text(2, "a"), text(3, "b")]
    assert transport.claim("third", 1, 100) == []


def test_events_after_a_gap_are_refused(connect):
    transport = connect()
    transport.submit(job("g"))
    claimed(transport)
    assert transport.publish("w", {"g": [text(2, "b")]}) == {"g"}
    assert transport.log("g") == []


def test_leases_outlive_an_outage_for_a_moment(server, connect):
    """The first worker that is back must not take the jobs of those that are a moment later."""
    one, two = connect(lease=1.0), connect(lease=1.0)
    one.submit(job("g"))
    assert claimed(one, "one") == ["g"]
    os.kill(server.pid, signal.SIGSTOP)
    time.sleep(6.5)
    os.kill(server.pid, signal.SIGCONT)
    assert claimed(two, "two") == []
    assert one.renew("one").lost == frozenset()
    assert claimed(two, "two") == []


def test_a_claim_whose_answer_was_lost_comes_again(connect, monkeypatch):
    transport = connect()
    for name in ("g0", "g1", "g2"):
        transport.submit(job(name))
    run = transport._scripts.run

    def lose_answer(name, *args):
        run(name, *args)
        raise TransportUnavailable("lost on the way")

    with monkeypatch.context() as patch:
        patch.setattr(transport._scripts, "run", lose_answer)
        with pytest.raises(TransportUnavailable):
            transport.claim("w", 2, 1000)
    claims = transport.claim("w", 2, 1000)
    assert sorted((claim.job.id, claim.attempt) for claim in claims) == [("g0", 1), ("g1", 1)]
    assert claimed(transport) == ["g2"]
