"""The worker's command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis

from inference.worker.command import SHORTEST_LEASE, TORCH_SPINS, connect, load_torch, parse_arguments
from inference.worker.loop import Worker
from tests.inference.logs import wait_until

TORCH = ["--model", "m", "--path", "folder"]


def test_a_lease_is_fifteen_seconds_unless_it_is_set(monkeypatch):
    monkeypatch.delenv("CHATAPP_LEASE_SECONDS", raising=False)
    assert parse_arguments(TORCH).lease == 15.0
    monkeypatch.setenv("CHATAPP_LEASE_SECONDS", "40")
    assert parse_arguments(TORCH).lease == 40.0
    assert parse_arguments([*TORCH, "--lease", "8.5"]).lease == 8.5


@pytest.mark.parametrize("seconds", ["5.9", "0", "-1", "nan", "soon"])
def test_a_lease_too_short_to_outlast_a_pause_of_redis_is_refused(seconds, capsys):
    with pytest.raises(SystemExit):
        parse_arguments([*TORCH, "--lease", seconds])
    assert "lease" in capsys.readouterr().err


def test_a_worker_on_redis_holds_its_jobs_for_its_own_lease():
    options = parse_arguments([*TORCH, "--redis", "redis://nowhere", "--lease", str(SHORTEST_LEASE)])
    transport, _ = connect(options)
    assert transport._settings.lease == SHORTEST_LEASE
    transport.close()


def test_a_worker_is_known_by_what_its_files_are_called_unless_it_is_named():
    options = parse_arguments(["--path", "/models/Some-Model.Q8_0.gguf"])
    assert (options.model, options.card.label) == ("some-model", "Some Model")
    named = parse_arguments(["--path", "/models/Some-Model.Q8_0.gguf", "--model", "team/house"])
    assert (named.model, named.card.label) == ("team/house", "house")


def start(name, *arguments):
    """A real worker on the tests' Redis that relays to nobody; it has told of itself when this returns."""
    command = [sys.executable, "-m", "inference.worker", "--name", name, "--redis", os.environ["REDIS_URL"]]
    command += ["--engine", "openai", "--model", "m", "--upstream", "http://127.0.0.1:9", *arguments]
    process = subprocess.Popen(command)
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        known = lambda: any(key.decode().startswith(name) for key in client.zrange("{chatapp}:seen", 0, -1))  # noqa: E731
        wait_until(known, 30)
    return process


def test_a_worker_that_is_told_to_stop_within_being_told_to_stop_notes_both():
    """Signals come between any two instructions of the handler of the one before."""
    worker = Worker(None, None, name="w", model="m")
    before = signal.signal(signal.SIGUSR1, lambda number, frame: worker.stop())
    over, main = threading.Event(), threading.main_thread().ident

    def shower():
        while not over.is_set():
            signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=shower)
    thread.start()
    until = time.monotonic() + 2
    while time.monotonic() < until:
        worker.stop()
    over.set()
    thread.join()
    signal.signal(signal.SIGUSR1, before)
    assert worker.stopping
    assert worker._is_over()


def test_a_worker_told_twice_at_once_ends():
    process = start("twice", "--grace", "60")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


def test_a_worker_whose_parent_is_gone_ends(tmp_path):
    """Its parent is a shell that starts it and is killed: nobody tells it anything."""
    pid = tmp_path / "pid"
    worker = f"{sys.executable} -m inference.worker --name orphan --redis {os.environ['REDIS_URL']}"
    worker += " --engine openai --model m --upstream http://127.0.0.1:9 --parent $$"
    shell = subprocess.Popen(["/bin/sh", "-c", f"{worker} & echo $! > {pid}; wait"])
    wait_until(lambda: pid.exists() and pid.read_text().strip(), 10)
    child = Path("/proc") / pid.read_text().strip() / "cmdline"
    wait_until(lambda: b"orphan" in child.read_bytes())
    shell.kill()
    shell.wait()
    wait_until(lambda: not child.exists() or not child.read_bytes(), 15)


def test_a_worker_ends_by_itself_when_its_transport_is_gone_for_good(monkeypatch):
    monkeypatch.setattr("inference.worker.link.GIVE_UP_SECONDS", 1.0)
    options = parse_arguments([*TORCH, "--redis", "redis://127.0.0.1:9/0"])
    transport, _ = connect(options)
    worker = Worker(transport, lambda tell: Idle(), name="w", model="m")
    assert worker.run() is False
    transport.close()


class Idle:
    """A writer that has nothing to write."""

    trouble, revision, context_length = "", "r", 100
    free_slots, free_kv_tokens, busy = 1, 100, False

    def counters(self):
        return {}

    def close(self):
        pass


def test_torchs_threads_spin_shortly_unless_the_operator_says_otherwise(monkeypatch):
    options = parse_arguments(["--model", "demo", "--path", "nowhere"])
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that it is put back
    monkeypatch.delenv("GOMP_SPINCOUNT")
    load_torch(options, b"key")
    assert os.environ["GOMP_SPINCOUNT"] == TORCH_SPINS
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    load_torch(options, b"key")
    assert os.environ["GOMP_SPINCOUNT"] == "7"
