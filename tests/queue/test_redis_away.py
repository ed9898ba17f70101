"""What asks Redis beside the transport, and goes on without it: the cache, the limits, the hints."""

from __future__ import annotations

import asyncio
import time

import pytest
from django.core.cache import cache
from django.test import Client
from limits import RateLimitItemPerMinute

from accounts import limiter as limiter_module
from accounts.limiter import Limiter
from accounts.models import User
from chatapp.queue import redis_cache
from chatapp.queue.channel_layer import SteadyChannelLayer
from chatapp.settings import base
from tests.redis_server import REFUSALS, RedisServer


@pytest.fixture
def server():
    server = RedisServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def short(monkeypatch):
    """Redis is asked again after a moment."""
    monkeypatch.setattr(redis_cache, "AWAY_SECONDS", 0.2)
    monkeypatch.setattr(limiter_module, "AWAY_SECONDS", 0.2)
    monkeypatch.setitem(redis_cache._asked_again, "at", 0.0)


@pytest.fixture
def steady(server, settings, short):
    """Django's cache on that server."""
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": server.url}}
    return cache


@pytest.mark.parametrize("how", ["killed", *REFUSALS])
def test_the_cache_goes_on_in_memory_and_comes_back(server, steady, how):
    steady.set("before", [1])
    server.kill() if how == "killed" else server.refuse(how)
    assert steady.add("a", 1) is True
    assert steady.add("a", 2) is False
    assert (steady.get("a"), steady.incr("a"), steady.has_key("a")) == (1, 2, True)
    steady.delete("a")
    assert steady.get_many(["a", "b"]) == {}
    server.start() if how == "killed" else server.accept()
    time.sleep(0.3)
    steady.set("after", [2])
    assert server.command("DBSIZE") >= 1
    assert steady.get("after") == [2]


def test_what_is_wrong_with_us_is_not_taken_for_an_outage(server, steady):
    server.command("LPUSH", ":1:list", "x")
    with pytest.raises(Exception, match="WRONGTYPE"):
        steady.get("list")


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["killed", "readonly", "noreplicas"])
def test_people_sign_up_and_log_in_without_redis_and_guessing_is_limited(server, steady, settings, free_plan, how):
    settings.ACCOUNT_RATE_LIMITS = base.ACCOUNT_RATE_LIMITS
    server.kill() if how == "killed" else server.refuse(how)
    form = {"email": f"{how}@example.com", "password1": "a quiet green kettle"}
    assert Client().post("/accounts/signup/", form).status_code == 302
    person, login = User.objects.get(email=form["email"]), {"login": form["email"], "password": form["password1"]}
    client = Client()
    assert client.post("/accounts/login/", login).status_code == 302
    assert client.session["_auth_user_id"] == str(person.pk)
    answers = [Client().post("/accounts/login/", login | {"password": "guess"}) for _ in range(8)]
    assert b"Too many failed login attempts" in answers[-1].content


@pytest.mark.parametrize("how", ["killed", *REFUSALS])
def test_the_rate_is_counted_by_each_process_while_redis_is_away(server, short, how):
    limiter, other, two = Limiter(server.url), Limiter(server.url), RateLimitItemPerMinute(2)
    assert limiter.hit(two, "requests", "t")
    server.kill() if how == "killed" else server.refuse(how)
    assert [limiter.hit(two, "requests", "t") for _ in range(3)] == [True, True, False]
    assert limiter.window(two, "requests", "t").remaining == 0
    assert other.hit(two, "requests", "t")
    server.start() if how == "killed" else server.accept()
    time.sleep(0.3)
    assert limiter.hit(two, "requests", "t")
    assert not [limiter.hit(two, "requests", "t") for _ in range(2)][-1]


async def hear(layer, channel):
    return await asyncio.wait_for(layer.receive(channel), 5)


@pytest.mark.parametrize("how", ["killed", "hung up"])
async def test_hints_come_again_after_redis_was_away_and_nobody_fails(server, how):
    """The first who subscribes after the cut meets a connection that is dead and does not know it."""
    layer = SteadyChannelLayer(server.url)
    before = await layer.new_channel()
    await layer.group_add("g", before)
    await layer.group_send("g", {"type": "one"})
    assert await hear(layer, before) == {"type": "one"}
    if how == "killed":
        server.kill()
        during = await layer.new_channel()
        await layer.group_add("g", during)
        await layer.group_send("g", {"type": "lost"})
        server.start()
    else:
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        during = await layer.new_channel()
        await layer.group_add("g", during)
    for _ in range(50):
        await layer.group_send("g", {"type": "two"})
        if len(server.command("PUBSUB", "CHANNELS")) == 3:
            break
        await asyncio.sleep(0.1)
    await layer.group_send("g", {"type": "three"})
    for channel in (before, during):
        while await hear(layer, channel) != {"type": "three"}:
            pass
    await layer.group_discard("g", during)
    await layer.flush()
