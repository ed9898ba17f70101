"""Who goes next, asked of every implementation of the fair queue: pure, in memory, and as scripts in Redis."""

from __future__ import annotations

import itertools
import os
import random
import time
import uuid
from collections import Counter
from typing import Any

import pytest
import redis

from inference.line.fairness import FairQueue
from inference.messages import (
    ANSWER,
    BATCH,
    EMBEDDING,
    INTERACTIVE,
    Ended,
    Event,
    Job,
    Kind,
    Sampling,
    Started,
    Text,
    WorkerReport,
)
from inference.transport import MemoryTransport, RedisTransport, Transport

PROMPT, OUTPUT = 1, 2  # what a token of each costs


class PureQueue:
    def __init__(self) -> None:
        self._queue = FairQueue()
        self._running: list[Job] = []

    def push(self, *jobs: Job) -> None:
        for job in jobs:
            self._queue.push(job)

    def pop(
        self, room: float = float("inf"), model: str | None = None, spare: bool = False, kind: Kind = ANSWER
    ) -> Job | None:
        running: dict[str, float] = {}
        for item in (item for item in self._running if item.kind == ANSWER):
            running[item.tenant] = running.get(item.tenant, 0.0) + 1 / item.weight
        item = self._queue.pop(room, model, running if spare else None, kind)
        self._running += [item] if item else []
        return item

    def write(self, job: Job, tokens: int) -> None:
        self._queue.charge(job, output_tokens=tokens)

    def end(self, job: Job) -> None:
        self._running.remove(job)


class TransportQueue:
    """The same acts of a transport: submit, claim, publish text and the end."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._seqs: Counter[str] = Counter()
        self._holders: dict[str, str] = {}

    def push(self, *jobs: Job) -> None:
        for job in jobs:
            self._transport.submit(job)

    def pop(
        self, room: float = 10**9, model: str | None = None, spare: bool = False, kind: Kind = ANSWER
    ) -> Job | None:
        worker = "w" if model is None else f"w-{kind}-{model}"
        if model is not None:
            self._transport.renew(worker, WorkerReport(worker, "ready", model=model, kind=kind, at=time.time()))
        claims = self._transport.claim(worker, 1, int(room), spare=int(spare))
        for claim in claims:
            self._holders[claim.job.id] = worker
        return claims[0].job if claims else None

    def write(self, job: Job, tokens: int) -> None:
        if not self._seqs[job.id]:
            self._publish(job, Started, self._holders[job.id], "m", "r", job.prompt_tokens)
        self._publish(job, Text, "x", (), tokens)

    def end(self, job: Job) -> None:
        self._publish(job, Ended, "stop")

    def _publish(self, job: Job, kind: type[Event], *fields: Any) -> None:
        self._seqs[job.id] += 1
        event = kind(self._seqs[job.id], *fields)
        assert not self._transport.publish(self._holders[job.id], {job.id: [event]})


@pytest.fixture(params=["pure", "memory", "redis"])
def queue(request):
    if request.param != "redis":
        yield PureQueue() if request.param == "pure" else TransportQueue(MemoryTransport())
        return
    prefix = f"{{fair-{uuid.uuid4().hex[:8]}}}:"
    transport = RedisTransport(os.environ["REDIS_URL"], prefix=prefix)
    yield TransportQueue(transport)
    transport.close()
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.delete(*client.keys(prefix + "*"))


arrival = itertools.count()


def job(tenant, prompt=10, *, weight=1.0, band=INTERACTIVE, name="", model="m", kind=ANSWER):
    number = next(arrival)
    return Job(
        name or f"{tenant}-{number}",
        tenant,
        model,
        (),
        Sampling(512),
        prompt,
        weight=weight,
        band=band,
        submitted_at=float(number),
        kind=kind,
    )


def cost(item, tokens):
    return PROMPT * item.prompt_tokens + OUTPUT * tokens


@pytest.mark.parametrize("seed", range(4))
def test_weighted_service_of_two_backlogged_tenants_differs_by_at_most_two_units(queue, seed):
    """U = max(longest prompt, what runs at once) / smallest weight; here one answer runs at a time."""
    chance = random.Random(seed)
    weights = {"a": 1.0, "b": chance.choice([1.0, 4.0, 16.0])}
    for _ in range(120):
        for tenant, weight in weights.items():
            queue.push(job(tenant, chance.randint(1, 300), weight=weight))
    unit = max(300 * PROMPT, 400 * OUTPUT) / min(weights.values())
    served = dict.fromkeys(weights, 0.0)
    for _ in range(110):
        item, tokens = queue.pop(), chance.randint(0, 400)
        queue.write(item, tokens)
        served[item.tenant] += cost(item, tokens) / item.weight
        assert abs(served["a"] - served["b"]) <= 2 * unit


def test_weighted_service_holds_while_several_answers_run_at_once(queue):
    """With 8 running, what all of them may still write counts: U is the KV cache's tokens."""
    chance, running, left = random.Random(7), [], {}
    for _ in range(100):
        queue.push(job("a", chance.randint(1, 200)), job("b", chance.randint(1, 200), weight=4.0))
    unit = max(200 * PROMPT, 8 * 100 * OUTPUT)
    served = {"a": 0.0, "b": 0.0}
    for _ in range(500):
        while len(running) < 8:
            running.append(queue.pop())
            left[running[-1].id] = chance.randint(10, 100)
            served[running[-1].tenant] += cost(running[-1], 0) / running[-1].weight
        item = chance.choice(running)
        queue.write(item, 10)
        served[item.tenant] += cost(item, 10) / item.weight - cost(item, 0) / item.weight
        left[item.id] -= 10
        if left[item.id] <= 0:
            running.remove(item)
        assert abs(served["a"] - served["b"]) <= 2 * unit


@pytest.mark.parametrize("tokens", [0, 30])
def test_weights_of_one_to_four_give_shares_within_five_percent_of_it(queue, tokens):
    for _ in range(420):
        queue.push(job("light", 40), job("heavy", 40, weight=4.0))
    served = Counter()
    for _ in range(500):
        item = queue.pop()
        queue.write(item, tokens)
        served[item.tenant] += cost(item, tokens)
    assert served["heavy"] / served["light"] == pytest.approx(4.0, rel=0.05)


def test_a_tenant_returning_from_idle_gets_no_more_than_its_share(queue):
    for _ in range(60):
        queue.push(job("busy", 50))
    for _ in range(30):
        queue.write(queue.pop(), 100)
    for _ in range(40):
        queue.push(job("back", 50))
    taken = []
    for _ in range(20):
        taken.append(queue.pop())
        queue.write(taken[-1], 100)
    shares = Counter(item.tenant for item in taken)
    assert abs(shares["back"] - shares["busy"]) <= 1


def test_a_tenant_that_was_served_much_does_not_wait_for_ever_when_others_come_new(queue):
    queue.push(*(job("old", 50) for _ in range(10)))
    for _ in range(5):
        queue.write(queue.pop(), 1000)
    queue.push(*(job("new", 50) for _ in range(10)))
    assert Counter(queue.pop().tenant for _ in range(10))["new"] in (5, 6), "the newcomer is lifted to the line"


def test_batch_work_goes_only_when_nothing_interactive_waits(queue):
    queue.push(*(job("bulk", 1, band=BATCH) for _ in range(5)))
    queue.push(*(job("person", 500) for _ in range(5)))
    assert [queue.pop().tenant for _ in range(5)] == ["person"] * 5
    queue.push(job("late", 500))
    assert queue.pop().tenant == "late"
    assert [queue.pop().tenant for _ in range(5)] == ["bulk"] * 5
    assert queue.pop() is None


def test_a_job_that_does_not_fit_holds_the_line(queue):
    queue.push(job("first", 1))
    queue.pop()  # from here on the worker holds something
    queue.push(job("large", 100), job("small", 1))
    assert queue.pop(room=50) is None
    assert queue.pop(room=100).tenant == "large"


def test_a_spare_slot_is_for_whoever_has_little_and_not_for_whoever_has_most(queue):
    queue.push(*(job("flood") for _ in range(8)))
    held = [queue.pop() for _ in range(4)]
    assert queue.pop(spare=True) is None, "nobody else is there, and the flood has all"
    queue.push(*(job("polite") for _ in range(5)))
    taken = []
    for _ in range(5):
        queue.write(held[0], 10)
        taken.append(queue.pop(spare=True))
    assert [item and item.tenant for item in taken] == ["polite"] * 4 + [None], "no more than the flood has"
    for item in [*held[1:], *taken[:4]]:
        queue.end(item)
    assert queue.pop(spare=True).tenant == "polite", "the flood has one, and may not take it"
    assert queue.pop(spare=True) is None, "both have one"


def test_a_heavier_tenant_has_little_at_a_higher_number(queue):
    queue.push(*(job("light") for _ in range(4)), *(job("heavy", weight=4.0) for _ in range(9)))
    taken = []
    while (item := queue.pop(spare=True)) is not None:
        taken.append(item.tenant)
    assert Counter(taken) == {"light": 1, "heavy": 4}


def test_batch_work_has_no_spare_slot(queue):
    queue.push(job("bulk", band=BATCH))
    assert queue.pop(spare=True) is None
    assert queue.pop().tenant == "bulk"


def test_a_spare_slot_passes_over_one_prompt_and_no_more(queue):
    """Else a tenant whose turn it is would see others served for as long as it waits for an ordinary slot."""
    queue.push(*(job("flood", 100) for _ in range(6)))
    held = [queue.pop() for _ in range(4)]
    queue.push(*(job("other", 60) for _ in range(3)))
    taken = [queue.pop(spare=True) for _ in range(3)]
    assert [item and item.tenant for item in taken] == ["other", "other", None]
    queue.write(held[0], 10)
    assert queue.pop(spare=True).tenant == "other"


def test_weighted_service_holds_with_spare_slots(queue):
    """Four of the eight slots are spare; two backlogged tenants, whose prompts and answers differ much."""
    chance, running, left = random.Random(5), [], {}
    for _ in range(150):
        queue.push(job("a", chance.randint(1, 20)), job("b", chance.randint(100, 300), weight=4.0))
    unit = max(300 * PROMPT, 8 * 100 * OUTPUT)
    served = {"a": 0.0, "b": 0.0}
    for _ in range(500):
        while len(running) < 8 and (item := queue.pop(spare=len(running) >= 4)) is not None:
            running.append(item)
            left[item.id] = chance.randint(10, 100)
            served[item.tenant] += cost(item, 0) / item.weight
        item = chance.choice(running)
        queue.write(item, 10)
        served[item.tenant] += OUTPUT * 10 / item.weight
        left[item.id] -= 10
        if left[item.id] <= 0:
            running.remove(item)
            queue.end(item)
        assert abs(served["a"] - served["b"]) <= 2 * unit


@pytest.mark.parametrize("models", [("m",), ("m", "n", "")], ids=["one-model", "several"])
def test_both_queues_choose_alike(queue, models):
    choose_alike(queue, models, [ANSWER])


def test_both_queues_choose_alike_among_two_kinds(queue):
    choose_alike(queue, ("m", ""), [ANSWER, EMBEDDING])


def choose_alike(queue, models, kinds):
    """A long random run against a second, pure queue: the same job at every step."""
    chance, twin = random.Random(11), PureQueue()
    weights = {"a": 1.0, "b": 4.0, "c": 16.0, "d": 1.0}
    waiting, running = 0, []
    for _ in range(600):
        act = chance.random()
        if act < 0.4:
            tenant = chance.choice(list(weights))
            band = BATCH if chance.random() < 0.2 else INTERACTIVE
            model = chance.choice(models)
            kind = chance.choice(kinds)
            item = job(tenant, chance.randint(1, 90), weight=weights[tenant], band=band, model=model, kind=kind)
            queue.push(item)
            twin.push(item)
            waiting += 1
        elif act < 0.7 and waiting:
            worker, kind = chance.choice(["m", "n"]), chance.choice(kinds)
            spare = chance.random() < 0.4
            item, expected = (each.pop(model=worker, spare=spare, kind=kind) for each in (queue, twin))
            assert item == expected
            running += [item] if item else []
            waiting -= 1 if item else 0
        elif running:
            item, tokens = chance.choice(running), chance.randint(1, 50)
            for each in (queue, twin):
                each.write(item, tokens)
            if act > 0.85:
                running.remove(item)
                for each in (queue, twin):
                    each.end(item)
