"""An answer whose queue loses its memory, or cannot be reached for a while."""

from __future__ import annotations

import threading
import time

import openai
import pytest

from accounts.models import UsageDay
from chatapp.chat.models import Generation
from chatapp.queue import transport as transport_module
from chatapp.v1 import answers
from inference.errors import TransportUnavailable
from inference.line.fairness import FairQueue
from inference.transport import MemoryTransport
from inference.transport.memory_logs import Logs
from tests.conftest import report_ready

from .conftest import wait_until
from .test_client import ASKED, ask

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def quick(monkeypatch):
    for name, seconds in {"FIRST_SILENCE": 0.1, "SILENCE": 0.1, "RETRY": 0.05, "FORGOTTEN": 0.1}.items():
        monkeypatch.setattr(answers, f"{name}_SECONDS", seconds)


class Asking(threading.Thread):
    """A caller in a thread, with what it was told."""

    def __init__(self, client: openai.OpenAI, **fields) -> None:
        super().__init__(daemon=True)
        self._ask = lambda: ask(client, **fields)
        self.reply: object = None
        self.error: openai.APIError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.reply = self._ask()
        except openai.APIError as error:
            self.error = error


def test_a_job_that_the_queue_forgot_is_submitted_again(client, transport, machine):
    caller = Asking(client)
    wait_until(lambda: transport.stats().waiting == 1)
    machine.transport = forgetful = MemoryTransport(heartbeat=3600)
    report_ready(forgetful)
    with transport._work:  # the old one's readers find nothing there
        transport._queue, transport._logs = FairQueue(), Logs(60.0, None, time.time)
    transport_module.install_transport(forgetful)
    job = machine.answer("again")
    caller.join(10)
    assert caller.reply.choices[0].message.content == "again"
    assert str(Generation.everyone.get().pk) == job.id
    assert UsageDay.everyone.values_list("reserved", "used").get() == (0, 11)


def test_an_outage_in_the_middle_is_a_pause(client, transport, machine, monkeypatch):
    caller = Asking(client)
    job = machine.take()
    machine.start(job)
    machine.write(job, "one ")
    wait_until(lambda: transport._logs.known(job.id).readers)
    whole = transport.follow
    refused = []

    async def refuse(generation, after_seq=0):
        refused.append(after_seq)
        raise TransportUnavailable
        yield

    monkeypatch.setattr(transport, "follow", refuse)
    wait_until(lambda: len(refused) > 2)
    machine.write(job, "two")
    monkeypatch.setattr(transport, "follow", whole)
    machine.end(job)
    caller.join(10)
    assert caller.reply.choices[0].message.content == "one two"
    assert set(refused) == {2}


def test_an_answer_that_is_lost_for_good_is_told_so(client, transport, machine, monkeypatch):
    monkeypatch.setattr(answers, "PATIENCE_SECONDS", 0.3)
    caller = Asking(client)
    job = machine.take()
    machine.start(job)
    machine.write(job, "one ")

    async def refuse(generation, after_seq=0):
        raise TransportUnavailable
        yield

    monkeypatch.setattr(transport, "follow", refuse)
    caller.join(10)
    assert (caller.error.status_code, caller.error.code) == (503, "unavailable")
    assert caller.error.response.headers["retry-after"] == "5"
    wait_until(lambda: transport.renew(machine.name).cancelled == {job.id})


def test_a_queue_that_is_away_when_the_caller_leaves_is_told_later(client, transport, machine, monkeypatch):
    reply = client.chat.completions.create(model="test", messages=ASKED, stream=True)
    job = machine.take()
    machine.start(job)
    tries, cancel = [], transport.cancel

    def refuse(generation):
        tries.append(generation)
        raise TransportUnavailable

    monkeypatch.setattr(transport, "cancel", refuse)
    next(iter(reply))
    reply.close()
    wait_until(lambda: len(tries) > 2)
    assert not transport.renew(machine.name).cancelled
    monkeypatch.setattr(transport, "cancel", cancel)
    wait_until(lambda: transport.renew(machine.name).cancelled == {job.id})
    machine.end(job, "cancelled")
    wait_until(lambda: UsageDay.everyone.values_list("reserved", "used").get() == (0, 10))
