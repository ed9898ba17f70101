"""What a worker keeps in order to tell it again."""

from __future__ import annotations

from inference.messages import Claim, Ended, Job, Sampling, Started, Text
from inference.worker.kept_logs import KEEP_SECONDS, UNTOLD_SECONDS, KeptLogs

LOG = [Started(1, "w", "m", "r", 5), Text(2, "a", (1,)), Ended(3, "stop", 1)]


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def held(clock: Clock) -> KeptLogs:
    jobs = KeptLogs(clock)
    jobs.begin([Claim(Job("g", "t", "m", (), Sampling(8), 5))])
    return jobs


def test_a_log_is_kept_whole_however_long_the_transport_is_away():
    clock = Clock()
    jobs = held(clock)
    for _ in range(3):  # each time it is tried
        jobs.write({"g": LOG})
        clock.now += KEEP_SECONDS
    assert jobs.read("g").log == LOG


def test_a_log_is_dropped_a_minute_after_its_end_was_told():
    clock = Clock()
    jobs = held(clock)
    jobs.write({"g": LOG})
    jobs.told(["g"])
    clock.now += KEEP_SECONDS
    jobs.prune()
    assert jobs.names() == {"g"}
    clock.now += 1
    jobs.told(["of another"])
    assert jobs.names() == {"g"}  # the transport that took another's may have forgotten this one
    jobs.prune()
    assert jobs.names() == set()


def test_what_has_not_ended_is_kept():
    clock = Clock()
    jobs = held(clock)
    jobs.write({"g": LOG[:2]})
    jobs.told(["g"])
    clock.now += 10 * KEEP_SECONDS
    jobs.prune()
    assert jobs.read("g").log == LOG[:2]


def test_what_was_never_told_is_kept_for_an_hour_and_no_longer():
    clock = Clock()
    jobs = held(clock)
    jobs.write({"g": LOG})
    clock.now += UNTOLD_SECONDS
    jobs.write({"g": LOG})  # tried again
    jobs.prune()
    assert jobs.names() == {"g"}
    clock.now += 1
    jobs.prune()
    assert jobs.names() == set()
