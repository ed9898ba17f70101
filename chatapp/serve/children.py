"""Processes that the serving process starts, watches and ends: none of them outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from django.conf import settings

CELERY_THREADS = "4"
STOP_SECONDS = 2.5  # for Celery to finish; the whole stop is promised within five


class Child:
    """A process of ours, how to start it again, and what to do when it has ended."""

    def __init__(
        self, name: str, start: Callable[[], subprocess.Popen[bytes]], ended: Callable[[], None] = lambda: None
    ) -> None:
        self.name, self.start, self.ended = name, start, ended
        self.process = start()


def start_child(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C reaches it through us; on Linux it ends when we are killed."""
    return subprocess.Popen(
        command,
        env=environment,
        cwd=settings.BASE_DIR,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 -- it only calls prctl
    )


def start_celery() -> subprocess.Popen[bytes]:
    """A worker for what people cause."""
    return _start_worker("celery", CELERY_THREADS)


def start_periodic() -> subprocess.Popen[bytes]:
    """A worker with beat for what comes by itself, a thread for each task."""
    schedule = str(settings.VAR_DIR / "celery" / "schedule")
    threads = str(len(settings.CELERY_BEAT_SCHEDULE))
    return _start_worker("periodic", threads, "--beat", "--schedule", schedule)


def _start_worker(queue: str, threads: str, *options: str) -> subprocess.Popen[bytes]:
    for folder in ("queue", "control"):
        (settings.VAR_DIR / "celery" / folder).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "chatapp", "worker", "--pool", "threads", *options]
    command += ["--queues", queue, "--hostname", f"{queue}@%h", "--concurrency", threads]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", settings.LOG_LEVEL]
    # The queue is a folder of ours, so Celery's warning about root and messages from strangers says nothing here.
    quiet = "ignore::RuntimeWarning:celery.platforms,ignore:You're running the worker"
    return start_child(command, os.environ | {"PYTHONWARNINGS": quiet})


def stop_children(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask them to finish what they do; after ``STOP_SECONDS`` end them with every child of their own."""
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """What a process that has ended leaves behind: Celery's beat can outlive its parent, and would go on beside the
    next one's.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _die_with_parent() -> None:
    """Linux: when the serving process is killed, its child is told to end as well."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
