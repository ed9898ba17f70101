"""A pytest plugin: PostgreSQL and Redis of the tests' own, on free ports, for the length of the run.

Loaded before Django reads its settings. PostgreSQL refuses to run as root, so root starts it as the
``postgres`` user that Debian's package makes. Workers of pytest-xdist use their parent's servers.
A run that leaves a process behind fails (``tests.left_processes``).
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.programs import free_port, postgresql_programs, wait_for_port
from tests import left_processes

OWN_POSTGRESQL = "CHATAPP_TESTS_OWN_POSTGRESQL"
_stops: list[Callable[[], None]] = []


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Iterator[None]:
    """A wrapper, because wrappers come before pytest-django's own hook, which reads the settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatapp.settings.test")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        left_processes.mark()
    if "DATABASE_URL" not in os.environ:
        os.environ["DATABASE_URL"] = start_postgresql()
        os.environ[OWN_POSTGRESQL] = "yes"
    if "REDIS_URL" not in os.environ:
        os.environ["REDIS_URL"] = start_redis()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """After every other: the servers have ended, and so has all that the tests have started."""
    yield
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    for stop in reversed(_stops):
        stop()
    if left := left_processes.end():
        print(f"\nThe tests left processes behind, which are ended now:\n{left}", file=sys.stderr, flush=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def start_postgresql() -> str:
    """A fresh cluster without durability. Returns its address; it ends with this process."""
    programs, port = postgresql_programs(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="chatapp-postgresql-"))
    as_user = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    _run(folder, *as_user, programs / "initdb", "-D", data, "-U", "chatapp", "--auth=trust", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off"
    options += " -c full_page_writes=off -c max_connections=200"
    command = [*as_user, programs / "pg_ctl", "-D", data, "-l", folder / "log", "-w"]
    _run(folder, *command, "-o", options, "start")
    _at_end(lambda: _run(folder, *command, "-m", "immediate", "stop"), folder)
    return f"postgresql://chatapp@127.0.0.1:{port}/chatapp"


def start_redis() -> str:
    """An empty server that keeps nothing. Returns its address; it ends with this process."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="chatapp-redis-"))
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    _at_end(lambda: (process.terminate(), process.wait(10)), folder)
    wait_for_port(port)
    return f"redis://127.0.0.1:{port}/0"


def _run(folder: Path, *command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, cwd=folder)


def _at_end(stop: Callable[[], object], folder: Path) -> None:
    """Of the session, or of a process that does not come so far; once."""
    owner = os.getpid()

    def clean() -> None:
        if os.getpid() == owner and folder.exists():  # not in a child that inherited the hook
            stop()
            shutil.rmtree(folder, ignore_errors=True)

    _stops.append(clean)
    atexit.register(clean)
