"""A cluster of real processes to break, people who use it, and what must hold once it is whole again."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from inference.wire import decode_event
from scripts.cluster import Cluster, Program
from scripts.programs import wait_for_port
from tests.fake_upstream import FakeUpstream
from tests.faults.tabs import Tab
from tests.redis_server import accept

LENGTH, RATE = 120, 40.0  # an answer's words, and how many a second
RECOVERY_SECONDS = 30.0

People = Callable[[int], Awaitable[list[Tab]]]


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeUpstream]:
    """What the workers relay to: an answer is w0 w1 w2 …, so that a lost or doubled word is seen."""
    upstream = FakeUpstream(rate=RATE, length=LENGTH).start()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def running(upstream: FakeUpstream) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="chatapp-faults-"))
    folder.chmod(0o755)  # PostgreSQL's own user reads below it
    cluster = Cluster(folder, upstream=upstream.url)
    try:
        cluster.start()
        yield cluster
    finally:
        for program in reversed(cluster.programs()):
            program.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(running: Cluster, upstream: FakeUpstream) -> Cluster:
    """The cluster with every part well, whatever the test before did to it."""
    upstream.faults.clear()
    upstream.rate, upstream.length = RATE, LENGTH
    for program in running.programs():
        program.signal(signal.SIGCONT)
        if not program.running:
            program.start()
    running.wait_for_postgresql()
    wait_for_port(running.redis_port)
    accept(running.redis_url)
    wait_until_well(running)
    return running


def wait_until_well(cluster: Cluster) -> None:
    for web in cluster.webs:
        wait_until(lambda web=web: is_ready(cluster.url(web)), 60, f"{web.name} ready; see {web.log}")
    wait_until(lambda: len(workers_of(cluster)) >= len(cluster.workers), 30, "every worker")


@pytest.fixture
async def people(cluster: Cluster):
    """``await people(3)``: as many tabs of different people, each at the first web process. Afterwards the
    cluster has to be whole: see ``check_invariants``.
    """
    tabs: list[Tab] = []

    async def come(count: int) -> list[Tab]:
        tabs.extend([await Tab(*map(cluster.url, cluster.webs)).sign_up() for _ in range(count)])
        return tabs[-count:]

    yield come
    for tab in tabs:
        await tab.close()
    check_invariants(cluster, tabs)


def check_invariants(cluster: Cluster, tabs: list[Tab]) -> None:
    """Nothing is being written any more, nothing is reserved, every text is what its reader read, and no log has a
    number twice or leaves one out.
    """
    unfinished = "SELECT id, kind, state, submissions FROM chat_generation WHERE finished_at IS NULL"
    wait_until(
        lambda: not query(cluster, unfinished), RECOVERY_SECONDS, lambda: f"ends of {query(cluster, unfinished)}"
    )
    assert query(cluster, "SELECT id FROM chat_message WHERE state IN ('queued', 'streaming')") == []
    assert query(cluster, "SELECT reserved FROM accounts_usageday WHERE reserved <> 0") == []
    for tab in (tab for tab in tabs if tab.names):
        stored = query(cluster, "SELECT text, state FROM chat_message WHERE id = %s", tab.names["message"])
        assert stored == [(tab.text, tab.state)]
    ledger = "SELECT tenant_id, day, sum(prompt_tokens + output_tokens) FROM accounts_ledgerentry GROUP BY 1, 2"
    days = "SELECT tenant_id, day, used FROM accounts_usageday WHERE used <> 0"
    assert sorted(query(cluster, ledger)) == sorted(query(cluster, days))
    for name, numbers in log_numbers(cluster).items():
        assert numbers == list(range(1, len(numbers) + 1)), name


def log_numbers(cluster: Cluster) -> dict[str, list[int]]:
    """The sequence numbers of every log that Redis has."""
    client = redis.Redis.from_url(cluster.redis_url)
    logs: dict[str, list[int]] = {}
    for key in client.scan_iter("{chatapp}:log:*"):
        lines = [line for _, entry in client.xrange(key) for line in entry[b"e"].split(b"\n")]
        logs[key.decode()] = [decode_event(line).seq for line in lines]
    client.close()
    return logs


def query(cluster: Cluster, sql: str, *values: object) -> list[tuple]:
    with psycopg.connect(cluster.database_url) as connection:
        return connection.execute(sql, values).fetchall()


def execute(cluster: Cluster, sql: str, *values: object) -> None:
    """Change the product's database as an admin would."""
    with psycopg.connect(cluster.database_url) as connection:
        connection.execute(sql, values)


def make_key(cluster: Cluster, tab: Tab) -> str:
    """An API key of the tab's person, as an admin would make one."""
    secret = f"sk-{uuid.uuid4().hex}"
    execute(
        cluster,
        "INSERT INTO accounts_apikey (id, tenant_id, user_id, name, prefix, digest, created_at)"
        " SELECT %s, tenant_id, user_id, 'faults', %s, %s, now() FROM accounts_membership"
        " JOIN accounts_tenant ON accounts_tenant.id = tenant_id WHERE slug = %s",
        *(uuid.uuid4(), secret[:10], hashlib.sha256(secret.encode()).hexdigest(), tab.slug),
    )
    return secret


def holder(cluster: Cluster, tab: Tab) -> Program:
    """The worker that has the tab's answer, once one has it."""
    client = redis.Redis.from_url(cluster.redis_url)
    key = f"{{chatapp}}:job:{tab.names['generation']}"
    wait_until(lambda: client.hget(key, "holder"), 10, "a holder")
    name = client.hget(key, "holder").decode()
    client.close()
    return next(worker for worker in cluster.workers if name.startswith(worker.name))


def workers_of(cluster: Cluster) -> list[str]:
    """The names of the workers that live and are ready."""
    client = redis.Redis.from_url(cluster.redis_url)
    seen = client.zrangebyscore("{chatapp}:seen", time.time() - 3, "+inf")
    client.close()
    return [name.decode() for name in seen]


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def wait_until(condition: Callable[[], object], seconds: float, what: object) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still waiting for {what() if callable(what) else what}")
        time.sleep(0.1)


def memory_of(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
