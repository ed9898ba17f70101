"""``python -m inference.worker --engine openai`` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from inference.messages import ChatMessage, Ended, Job, Sampling, Text
from inference.transport import MemoryTransport, serve_local
from tests.fake_upstream import FakeUpstream, words

KEY = b"key"


@pytest.fixture
def transport(tmp_path):
    transport = MemoryTransport(retention=3600)
    serve_local(tmp_path / "s", KEY, transport, lambda group, message: None)
    return transport


@pytest.fixture
def start(tmp_path):
    """Start a worker's process; it is killed after the test."""
    started = []

    def run(*arguments):
        command = [
            sys.executable,
            "-m",
            "inference.worker",
            "--socket",
            str(tmp_path / "s"),
            "--model",
            "m",
            *arguments,
        ]
        environment = os.environ | {"CHATAPP_TRANSPORT_KEY": KEY.hex(), "CHATAPP_UPSTREAM_KEY": "secret"}
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def submit(transport, name):
    transport.submit(Job(name, "t", "m", (ChatMessage("user", "hi"),), Sampling(max_tokens=500), 5))


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def text_of(transport, name="g"):
    return "".join(event.text for event in transport.log(name) if isinstance(event, Text))


def test_on_sigterm_it_ends_its_answers_and_leaves_the_others_to_the_next(transport, start):
    upstream = FakeUpstream(rate=50, length=60).start()
    arguments = ("--engine", "openai", "--upstream", upstream.url, "--slots", "1")
    process = start(*arguments, "--name", "first")
    submit(transport, "g")
    wait_until(lambda: text_of(transport))
    process.send_signal(signal.SIGTERM)
    submit(transport, "late")
    assert process.wait(20) == 0
    assert (text_of(transport), transport.log("g")[-1].reason) == (words(60), "stop")
    assert transport.position("late").place == 1
    start(*arguments, "--name", "second")
    wait_until(lambda: isinstance((transport.log("late") or [None])[-1], Ended))
    assert text_of(transport, "late") == words(60)
    assert upstream.headers[0]["Authorization"] == "Bearer secret"
    upstream.close()


def test_a_second_sigterm_hands_over_at_once(transport, start):
    upstream = FakeUpstream(rate=20, length=400).start()
    process = start("--engine", "openai", "--upstream", upstream.url, "--name", "w")
    submit(transport, "g")
    wait_until(lambda: text_of(transport))
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    assert process.wait(5) == 0
    assert transport.position("g").place == 1
    assert transport.stats().running == 0
    wait_until(lambda: upstream.open == 0)
    upstream.close()


def test_a_worker_that_relays_loads_neither_torch_nor_django():
    code = (
        "import sys, inference.worker.command, inference.writers.relay;"
        "print([name for name in ('torch', 'transformers', 'django') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "openai"], "--engine openai needs --upstream"),
        (["--engine", "openai", "--upstream", "file:///etc/passwd"], "--upstream wants http://"),
        (["--engine", "torch"], "--engine torch needs --path"),
        (["--engine", "torch", "--path", "x", "--weights", "int1"], "weights must be one of"),
    ],
)
def test_what_cannot_be_started_says_what_is_missing(start, arguments, said):
    process = start(*arguments)
    assert process.wait(60) != 0
    assert said in process.stderr.read()
