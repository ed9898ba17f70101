"""What one person may ask of the sockets: how many, how often, and for how long without saying who they are."""

from __future__ import annotations

import asyncio

import pytest

from chatapp.common.errors import RateLimited
from chatapp.web.socket_limits import PATIENCE, TOO_MANY, Bucket, Flooded, FrameLimit, OpenSockets, open_sockets

database = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transport", "no_titles")]


def with_marks(test):
    for mark in database:
        test = mark(test)
    return test


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_what_it_has_and_then_what_comes():
    clock = Clock()
    bucket = Bucket(2.0, 3.0, clock)
    assert [bucket.take() for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    clock.now = 0.25
    assert bucket.take() == 0.25
    clock.now = 0.5
    assert [bucket.take(), bucket.take()] == [0.0, 0.5]
    clock.now = 1_000.0
    assert [bucket.take() for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def counted(limit: FrameLimit) -> str:
    try:
        limit.count()
    except (RateLimited, Flooded) as error:
        return type(error).__name__
    return ""


def test_a_flood_is_refused_and_then_ended(settings):
    settings.CHATAPP_FRAMES_PER_SECOND = 10
    limit = FrameLimit(Clock())
    said = [counted(limit) for _ in range(50 + PATIENCE + 1)]
    assert said == [""] * 50 + ["RateLimited"] * PATIENCE + ["Flooded"]


def test_who_asks_a_little_too_often_is_never_ended(settings):
    settings.CHATAPP_FRAMES_PER_SECOND = 10
    clock = Clock()
    limit = FrameLimit(clock)
    for _ in range(20_000):
        clock.now += 1 / 10.9  # 0.9 a second too many, and as many are forgiven
        assert counted(limit) in ("", "RateLimited")


def test_sockets_are_counted_by_person_and_by_workspace(settings):
    settings.CHATAPP_SOCKETS_PER_PERSON, settings.CHATAPP_SOCKETS_PER_WORKSPACE = 2, 3
    sockets = OpenSockets()
    assert [sockets.enter("ana", "w") for _ in range(3)] == [True, True, False]
    assert [sockets.enter("ben", "w") for _ in range(2)] == [True, False]
    assert sockets.enter("ben", "v")
    sockets.leave("ana", "w")
    assert [sockets.enter("ben", "w"), sockets.enter("ana", "w"), sockets.enter("ana", "w")] == [False, True, False]


@with_marks
async def test_one_socket_too_many_is_closed_and_one_that_goes_makes_room(member, stranger, tab_of, settings):
    settings.CHATAPP_SOCKETS_PER_PERSON = 2
    first, second, third = [await tab_of(member) for _ in range(3)]
    assert [(await tab.open())["type"] for tab in (first, second)] == ["welcome", "welcome"]
    assert await third.closed_with() == TOO_MANY
    assert (await (await tab_of(stranger)).open())["type"] == "welcome"
    await first.close()
    assert (await (await tab_of(member)).open())["type"] == "welcome"


@with_marks
async def test_who_reconnects_again_and_again_leaves_nothing_behind(member, tab_of, settings):
    settings.CHATAPP_SOCKETS_PER_PERSON = 2
    before = len(open_sockets._people)
    for _ in range(20):
        tab = await tab_of(member)
        await tab.open()
        await tab.close()
    assert len(open_sockets._people) == before
    assert (await (await tab_of(member)).open())["type"] == "welcome"


@with_marks
async def test_a_refused_person_who_tries_on_is_refused_each_time_and_counts_for_nothing(member, tab_of, settings):
    settings.CHATAPP_SOCKETS_PER_PERSON = 1
    tab = await tab_of(member)
    await tab.open()
    for _ in range(5):
        refused = await tab_of(member)
        assert await refused.closed_with() == TOO_MANY
        await refused.close()
    await tab.close()
    assert (await (await tab_of(member)).open())["type"] == "welcome"


@with_marks
async def test_ten_thousand_pings_are_answered_as_far_as_one_may_ask_and_then_end_the_socket(tab, settings):
    for number in range(10_000):
        await tab.send("ping", ref=number)
    replies, code = await everything(tab)
    burst = settings.CHATAPP_FRAMES_PER_SECOND * 5
    pongs = [frame for frame in replies if frame["type"] == "pong"]
    errors = [frame for frame in replies if frame["type"] == "error"]
    assert burst <= len(pongs) < burst + 100
    assert {(frame["error"]["code"], frame["error"]["retry_after"]) for frame in errors} == {("rate_limited", 1)}
    assert PATIENCE <= len(errors) < PATIENCE + 20
    assert sorted(frame["ref"] for frame in replies) == list(range(len(replies)))
    assert code == TOO_MANY


@with_marks
async def test_what_cannot_be_read_counts_as_well(tab, settings):
    for _ in range(1_000):
        await tab.raw("not json")
    replies, code = await everything(tab)
    codes = [frame["error"]["code"] for frame in replies]
    assert codes[: settings.CHATAPP_FRAMES_PER_SECOND * 5] == ["bad_request"] * settings.CHATAPP_FRAMES_PER_SECOND * 5
    assert (set(codes), code) == ({"bad_request", "rate_limited"}, TOO_MANY)


@with_marks
async def test_a_question_in_a_flood_is_refused_by_its_ref_and_written_by_the_next_try(tab, settings):
    for _ in range(settings.CHATAPP_FRAMES_PER_SECOND * 5 + 5):
        await tab.send("ping", ref="p")
    await tab.send("send", ref="q", key="6f1ed002-ab5e-4f2c-9d4c-3a5c2f7b1a77", text="Hi")
    frame = await tab.next()
    while frame.get("ref") != "q":
        frame = await tab.next()
    assert (frame["type"], frame["error"]["code"]) == ("error", "rate_limited")
    await asyncio.sleep(frame["error"]["retry_after"])
    await tab.send("send", ref="q", key="6f1ed002-ab5e-4f2c-9d4c-3a5c2f7b1a77", text="Hi")
    assert (await tab.one("accepted"))["ref"] == "q"


async def everything(tab) -> tuple[list[dict], int]:
    """All frames until the socket is closed, and the code."""
    frames = []
    while True:
        frame = await tab.next_or_code()
        if isinstance(frame, int):
            return frames, frame
        frames.append(frame)
