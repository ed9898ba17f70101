"""Callers that are there and take nothing of their stream, or little."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from accounts.models import UsageDay
from chatapp.chat.models import Generation
from chatapp.serve.http_connections import Http

from .conftest import wait_until
from .test_client import ask

PIECE = "word " * 20_000  # 100 kB
END = b"data: [DONE]\n\n\r\n0\r\n\r\n"


@pytest.fixture
def connection(address, key, monkeypatch) -> Iterator[socket.socket]:
    """A call for a stream, of whose answer nothing has been read; the kernel takes little of it for the caller."""
    monkeypatch.setattr(Http, "stalled_seconds", 0.5)
    where = urlsplit(address)
    body = json.dumps({"model": "test", "stream": True, "messages": [{"role": "user", "content": "go on"}]})
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {key.secret}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", body]
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        caller.settimeout(20)
        caller.connect((where.hostname, where.port))
        caller.sendall("\r\n".join(lines).encode())
        yield caller


def read_whole(connection: socket.socket) -> bytes:
    """To its end, or as far as it comes."""
    whole = b""
    with contextlib.suppress(ConnectionResetError):
        while not whole.endswith(END) and (more := connection.recv(1 << 20)):
            whole += more
    return whole


def test_a_caller_that_takes_nothing_is_dropped_and_its_answer_stopped(connection, client, transport, machine):
    job = machine.take()
    machine.start(job)
    machine.write(job, *[PIECE] * 120)  # more than the kernels on both sides hold
    wait_until(lambda: job.id in transport.renew(machine.name).cancelled)
    machine.end(job, "cancelled")
    wait_until(lambda: Generation.everyone.get().state == "stopped")
    wait_until(lambda: UsageDay.everyone.values_list("reserved", "used").get() == (0, 10 + 120))
    assert not read_whole(connection).endswith(END)


def test_others_are_answered_meanwhile(connection, client, transport, machine, answering):
    job = machine.take()
    machine.start(job)
    machine.write(job, *[PIECE] * 120)
    answering("at once")
    assert ask(client).choices[0].message.content == "at once"
    wait_until(lambda: job.id in transport.renew(machine.name).cancelled)
    machine.end(job, "cancelled")
    wait_until(lambda: set(Generation.everyone.values_list("state", flat=True)) == {"stopped", "done"})


def test_a_caller_that_takes_little_is_waited_for(connection, transport, machine, monkeypatch):
    """Less in all of that time than what the server's kernel wants free before it asks for more."""
    looks, look = [], Http._look

    def looking(self, before):
        looks.append(before)
        look(self, before)

    monkeypatch.setattr(Http, "_look", looking)
    job = machine.take()
    machine.start(job)
    machine.write(job, *[PIECE] * 120)
    machine.end(job)
    whole = b""
    while len(looks) < 3:
        whole += connection.recv(2000)
        threading.Event().wait(0.02)
    assert len(whole) < 1_000_000
    whole += read_whole(connection)
    assert whole.endswith(END)
    assert looks == sorted(looks, reverse=True)
