"""Fixtures every test may use: people in workspaces, clients, and the transport of the process."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator

if shutil.which("nvidia-smi") is None:
    # The CUDA kernels run interpreted; Triton asks once, when it is first imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
from django.test import Client

from accounts.models import Membership, Plan
from accounts.scoping import enter_scope
from chatapp.queue import transport as transport_module
from inference.messages import WorkerReport
from inference.transport import MemoryTransport, RedisTransport
from tests.doors.world import World, make_world
from tests.factories import MembershipFactory
from tests.hand_worker import HandWorker
from tests.redis_server import Memory
from tests.services import OWN_POSTGRESQL


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """The test database ends with the tests' own server; dropping it first would wait for every open connection."""
    return OWN_POSTGRESQL in os.environ


@pytest.fixture(autouse=True)
def no_scope() -> Iterator[None]:
    """Every test begins without a tenant in scope, as every process does."""
    enter_scope(None)
    yield
    enter_scope(None)


@pytest.fixture
def transport() -> Iterator[MemoryTransport]:
    """This process's transport, with one worker that is ready for the model ``test``."""
    memory = MemoryTransport(heartbeat=3600)
    report_ready(memory)
    transport_module.install_transport(memory)
    yield memory
    transport_module._installed.clear()


@pytest.fixture
def memory() -> Memory:
    """That of ``redis_transport``."""
    return Memory()


@pytest.fixture
def redis_transport(memory: Memory) -> Iterator[RedisTransport]:
    """The same in Redis, as in production. A file whose tests are all over it calls it ``transport``."""
    with memory.transport(heartbeat=3600) as transport:
        transport_module.install_transport(transport)
        report_ready(transport)
        yield transport
        transport_module._installed.clear()


def report_ready(memory: MemoryTransport | RedisTransport, name: str = "w1", model: str = "test") -> None:
    import time

    memory.renew(
        name,
        WorkerReport(name, "ready", model=model, model_revision="r1", context_length=4096, at=time.time()),
    )


@pytest.fixture
def free_plan(db: None) -> Plan:
    """The plan of new people, as its migration makes it; a test that flushes the tables takes it away."""
    plans = importlib.import_module("accounts.migrations.0001_initial").PLANS
    fields = next(fields for fields in plans if fields["code"] == "free")
    return Plan.objects.get_or_create(code="free", defaults=fields)[0]


@pytest.fixture
def member(db: None) -> Membership:
    """The owner of a personal workspace."""
    return MembershipFactory()


@pytest.fixture
def stranger(db: None) -> Membership:
    """Somebody else, with a workspace of their own."""
    return MembershipFactory()


@pytest.fixture
def client_of():
    """``client_of(membership)``: a browser in which that person is logged in."""

    def make(membership: Membership) -> Client:
        client = Client()
        client.force_login(membership.user)
        return client

    return make


@pytest.fixture
def hand(transport: MemoryTransport) -> HandWorker:
    """The worker that ``transport`` says is ready, moved by the test."""
    return HandWorker(transport)


@pytest.fixture
def world(db, transport, no_titles, settings, django_capture_on_commit_callbacks) -> World:
    """See ``tests/doors/world.py``. Metrics are for who has a token."""
    settings.METRICS_TOKEN = "for the operator"
    with django_capture_on_commit_callbacks(execute=True):
        return make_world()


@pytest.fixture
def no_titles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave conversations untitled: the title's job would stand in line beside the test's own."""
    from chatapp.chat.tasks import title_conversation

    monkeypatch.setattr(title_conversation, "delay", lambda *args: None)
