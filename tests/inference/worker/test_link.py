"""The link between an engine's thread and the transport."""

from __future__ import annotations

import threading
import time

import pytest

from inference.errors import TransportUnavailable
from inference.messages import Ended, Job, Sampling, Started, Text, WorkerReport
from inference.transport import LocalTransport, MemoryTransport, serve_local
from inference.worker import link as link_module
from inference.worker.link import Link


@pytest.fixture
def transport():
    return MemoryTransport(retention=3600)


@pytest.fixture
def link(transport):
    link = Link(transport, "w")
    link.start()
    yield link
    link.close()


def submit(transport, name, after=0.0):
    job = Job(name, "t", "m", (), Sampling(8), 5)
    threading.Timer(after, transport.submit, [job]).start()


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_job_and_its_first_token_do_not_wait_for_a_heartbeat(transport, link, monkeypatch):
    """Both ways at once: with long waits, only what is woken comes in time."""
    monkeypatch.setattr(link_module, "IDLE_SECONDS", 5.0)
    link.beat(4, 100, busy=False)
    time.sleep(0.6)
    began = time.monotonic()
    submit(transport, "g", after=0.05)
    (claim,), _ = link.take(5.0)
    link.publish({"g": [Started(1, "w", "m", "r", 5), Text(2, "a", (1,))]})
    wait_until(lambda: len(transport.log("g")) == 2)
    assert claim.job.id == "g"
    assert time.monotonic() - began < 2.0
    link.beat(4, 100, busy=False)
    link.publish({"g": [Ended(3, "stop", 1)]})
    wait_until(lambda: len(transport.log("g")) == 3)
    submit(transport, "h")
    link.take(5.0)


def test_no_more_is_claimed_than_the_last_beat_had_room_for(transport, link):
    for number in range(5):
        submit(transport, f"g{number}")
    link.beat(2, 100, busy=False)
    wait_until(lambda: transport.stats().running == 2)
    time.sleep(0.1)
    assert transport.stats().running == 2
    claims, _ = link.take()
    assert len(claims) == 2
    time.sleep(0.1)
    assert transport.stats().running == 2, "what was taken is not free until the engine says so"
    link.beat(1, 100, busy=True)
    wait_until(lambda: transport.stats().running == 3)


def test_a_spare_slot_is_kept_from_a_tenant_that_is_alone_and_given_to_another(transport):
    spare = Link(transport, "w", spare=1)
    spare.start()
    for name in ("a", "b", "c"):
        transport.submit(Job(name, "flood", "m", (), Sampling(8), 5))
    spare.beat(3, 100, busy=False)
    taken = []
    while len(taken) < 2:
        taken += [claim.job.id for claim in spare.take(5.0)[0]]
    transport.submit(Job("late", "polite", "m", (), Sampling(8), 5))
    (claim,), _ = spare.take(5.0)
    spare.close(["a", "b", "late"])
    assert (taken, claim.job.id) == (["a", "b"], "late")


def test_a_place_that_an_answer_leaves_is_filled_at_once(transport, link, monkeypatch):
    """Also from a line that was there before: nobody tells the worker of it again."""
    monkeypatch.setattr(link_module, "RENEW_SECONDS", 5.0)
    for name in "ab":
        submit(transport, name)
    link.beat(1, 100, busy=False)
    link.take(5.0)
    link.beat(0, 90, busy=True)
    time.sleep(0.1)
    assert transport.stats().waiting == 1
    link.publish({"a": [Ended(1, "stop")]})
    link.beat(1, 100, busy=False)
    wait_until(lambda: transport.stats().waiting == 0, seconds=0.3)


def test_a_busy_worker_renews_about_once_a_second_and_is_still_told_at_once(transport, tmp_path):
    """Over a socket, where every question costs both processes their time."""
    renewals, renew = [], transport.renew
    transport.renew = lambda *arguments: (renewals.append(time.monotonic()), renew(*arguments))[1]
    serve_local(tmp_path / "s", b"key", transport, lambda group, message: None)
    link = Link(LocalTransport(tmp_path / "s", b"key"), "w")
    link.start()
    submit(transport, "g")
    link.beat(4, 100, busy=False)
    link.take(5.0)
    link.beat(3, 90, busy=True)
    time.sleep(0.5)
    before = len(renewals)
    for number in range(80):
        link.beat(3, 90, busy=True)
        link.publish({"g": [Text(number + 1, "a", (1,))]})
        time.sleep(0.025)
    assert 1 <= len(renewals) - before <= 3
    began, found = time.monotonic(), []
    transport.cancel("g")
    wait_until(lambda: found.append(link.take()[1].cancelled) or "g" in found[-1], seconds=1.0)
    assert time.monotonic() - began < 0.3
    link.close()


def test_cancels_reach_the_engine_within_a_few_milliseconds(transport, link):
    submit(transport, "g")
    link.beat(4, 100, busy=False)
    link.take(5.0)
    transport.cancel("g")
    found = []
    wait_until(lambda: found.append(link.take()[1].cancelled) or "g" in found[-1], seconds=1.0)


def test_an_engine_that_hangs_loses_its_lease(monkeypatch):
    monkeypatch.setattr(link_module, "HANG_SECONDS", 0.2)
    transport = MemoryTransport(lease=0.5)
    link = Link(transport, "w")
    link.start()
    submit(transport, "g")
    link.beat(4, 100, busy=False)
    link.take(5.0)
    time.sleep(1.0)  # the engine is silent
    (claim,) = transport.claim("other", 1, 100)
    assert (claim.job.id, claim.attempt) == ("g", 2)
    link.close()


def test_events_survive_a_transport_that_is_away_for_a_while(monkeypatch):
    monkeypatch.setattr(link_module, "RETRY_SECONDS", 0.01)
    transport = MemoryTransport()
    away, publish = [], transport.publish

    def flaky(worker, events):
        away.append(1)
        if len(away) <= 3:
            raise TransportUnavailable("nobody there")
        publish(worker, events)

    transport.publish = flaky
    link = Link(transport, "w")
    link.start()
    submit(transport, "g")
    link.beat(4, 100, busy=False)
    link.take(5.0)
    link.publish({"g": [Started(1, "w", "m", "r", 5)]})
    link.publish({"g": [Text(2, "a", (1,))]})
    link.publish({"g": [Ended(3, "stop", 1)]})
    wait_until(lambda: len(transport.log("g")) == 3)
    assert [event.seq for event in transport.log("g")] == [1, 2, 3]
    link.close()


def test_a_report_tells_what_the_answers_under_way_have_and_how_long_the_last_were(transport, link):
    def told():
        link.beat(0, 0, busy=True, report=WorkerReport("w", "ready", at=time.time()))
        time.sleep(0.02)
        reports = transport.stats().workers
        return reports[0] if reports else None

    for name in "ab":
        submit(transport, name)
        link.beat(4, 100, busy=False)
        link.take(5.0)
    link.publish({"a": [Started(1, "w", "m", "r", 5), Text(2, "ab", (1, 2))]})
    wait_until(lambda: (report := told()) is not None and report.answers == ((2, 8), (0, 8)))
    assert told().rate > 0
    link.publish({"a": [Ended(3, "stop", 2)]})
    link.hand_back(["b"])
    wait_until(lambda: told().lengths == (2,))
    assert told().answers == ()


def test_closing_sends_what_is_left(transport):
    link = Link(transport, "w")
    link.start()
    submit(transport, "g")
    link.beat(4, 100, busy=False)
    link.take(5.0)
    link.publish({"g": [Ended(1, "stop")]})
    link.close()
    assert transport.log("g") == [Ended(1, "stop")]


def test_what_is_handed_back_goes_after_what_was_written_of_it(transport, link):
    submit(transport, "g")
    link.beat(4, 100, busy=False)
    link.take(5.0)
    link.beat(0, 0, busy=False)
    link.publish({"g": [Started(1, "w", "m", "r", 5), Text(2, "a", (1,))]})
    link.hand_back(["g"])
    wait_until(lambda: transport.position("g"))
    (claim,) = transport.claim("other", 1, 100)
    assert (claim.text, claim.next_seq) == ("a", 3)


def test_a_link_that_closes_keeps_no_job_to_itself(transport):
    link = Link(transport, "w")
    link.start()
    for name in ("taken", "waiting"):
        submit(transport, name)
    link.beat(4, 100, busy=False)
    wait_until(lambda: transport.stats().running == 2)
    link.close(["taken"])
    assert (transport.stats().running, transport.stats().waiting) == (0, 2)


def test_a_transport_that_is_away_gets_what_is_handed_back_later(monkeypatch):
    monkeypatch.setattr(link_module, "RETRY_SECONDS", 0.01)
    transport = MemoryTransport()
    away, hand_back = [], transport.hand_back

    def flaky(worker, generations):
        away.append(1)
        if len(away) <= 3:
            raise TransportUnavailable("nobody there")
        hand_back(worker, generations)

    transport.hand_back = flaky
    link = Link(transport, "w")
    link.start()
    submit(transport, "g")
    link.beat(4, 100, busy=False)
    link.take(5.0)
    link.beat(0, 0, busy=False)
    link.hand_back(["g"])
    wait_until(lambda: transport.position("g"))
    link.close()
