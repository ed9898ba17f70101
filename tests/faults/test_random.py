"""Whatever breaks, in whatever order: what must hold when it is over, and how long people were kept waiting."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import uuid

import pytest

from tests.fake_upstream import words
from tests.faults.chaos import Caller, Killer, Person, is_beginning
from tests.faults.conftest import LENGTH, check_invariants, execute, make_key, query, wait_until, wait_until_well

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

PEOPLE, CALLERS = 6, 3
QUICK, LONG = 40.0, 600.0  # seconds


@pytest.fixture
def generous(cluster):
    """No limit of the plan stands in the way."""
    limits = "requests_per_minute, tokens_per_day, concurrent_answers"
    (before,) = query(cluster, f"SELECT {limits} FROM accounts_plan WHERE code = 'free'")
    change = f"UPDATE accounts_plan SET ({limits}) = (%s, %s, %s) WHERE code = 'free'"
    execute(cluster, change, None, None, 50)
    yield
    execute(cluster, change, *before)


@pytest.mark.parametrize("seconds", [QUICK, pytest.param(LONG, marks=pytest.mark.long)], ids=["quick", "long"])
async def test_whatever_breaks_nothing_is_lost_doubled_or_forgotten(cluster, generous, seconds, capsys):
    seed = int(os.environ.get("CHATAPP_FAULTS_SEED") or random.randrange(10**6))
    dice, over = random.Random(seed), asyncio.Event()
    people = [await Person(*map(cluster.url, cluster.webs)).sign_up() for _ in range(PEOPLE)]
    callers = [Caller([*map(cluster.url, cluster.webs)], make_key(cluster, person)) for person in people[:CALLERS]]
    killer = Killer(cluster, dice)
    async with asyncio.TaskGroup() as group:
        for talker in people:
            group.create_task(talker.talk(random.Random(dice.random()), over))
        for caller in callers:
            group.create_task(caller.call(random.Random(dice.random()), over))
        group.create_task(killer.work(over))
        await asyncio.sleep(seconds)
        over.set()
    await asyncio.to_thread(wait_until_well, cluster)
    report = tell(seed, killer, people, callers)
    with capsys.disabled():
        print(report)
    check_invariants(cluster, people)
    check_answers(cluster, people, report)
    check_calls(callers, report)
    await asyncio.to_thread(check_roll_up, cluster)
    for person in people:
        await person.close()


def check_answers(cluster, people, report):
    """Every accepted key has one ended answer, and it is what its reader read: a beginning, to its end when done."""
    for person in people:
        assert person.answers, report
        for key, state, text in person.answers:
            found = "SELECT g.state, m.state, m.text FROM chat_generation g JOIN chat_message m ON m.id = message_id"
            rows = query(cluster, f"{found} WHERE idempotency_key = %s AND finished_at IS NOT NULL", uuid.UUID(key))
            assert rows == [(state, state, text)], (key, report)
            assert is_beginning(text), (key, text[-80:], report)
            assert state != "done" or text == words(LENGTH), (key, report)


def check_calls(callers, report):
    """What came to a program with its end is the whole answer; and what was refused was refused in words."""
    for caller in callers:
        assert caller.whole, report
        assert set(caller.whole) == {words(LENGTH)}, report
        assert set(caller.refused) <= {429, 503}, (caller.refused, report)


def check_roll_up(cluster):
    """Once the next one has run, it says what counting anew says."""
    asked = query(cluster, "SELECT now()")[0][0]
    counted = "SELECT counted_at FROM feedback_rollup WHERE counted_at > %s"
    wait_until(lambda: query(cluster, counted, asked), 90, "a roll-up")
    last = "SELECT DISTINCT ON (message_id) * FROM chat_generation WHERE kind = 'answer' AND finished_at IS NOT NULL"
    anew = (
        f"SELECT g.tenant_id, count(*) FROM ({last} ORDER BY message_id, finished_at DESC) g"
        " JOIN chat_message m ON m.id = g.message_id WHERE g.state IN ('done', 'stopped') OR m.text <> '' GROUP BY 1"
    )
    assert sorted(query(cluster, "SELECT tenant_id, sum(answers) FROM feedback_dailyrating GROUP BY 1")) == sorted(
        query(cluster, anew)
    )


def tell(seed, killer, people, callers):
    pauses = sorted(pause for person in people for pause in person.pauses)
    states = [state for person in people for _, state, _ in person.answers]
    p95 = statistics.quantiles(pauses, n=20)[-1]
    return (
        f"\nCHATAPP_FAULTS_SEED={seed}: {len(killer.done)} faults: {', '.join(killer.done)}\n"
        f"{len(states)} answers: {', '.join(f'{states.count(state)} {state}' for state in sorted(set(states)))}; "
        f"{sum(len(caller.whole) for caller in callers)} calls whole, "
        f"{sum(len(caller.refused) for caller in callers)} refused, {sum(caller.cut for caller in callers)} cut\n"
        f"longest pause in an answer: p95 {p95:.1f} s, max {pauses[-1]:.1f} s"
    )
