"""Processes of one machine: a program with its log, and what it takes to start servers on free ports.

For ``scripts.cluster`` and the tests' own servers; nothing of the product imports it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 15.0


@dataclass
class Program:
    """A command, its log in ``folder``, and its process while it runs. ``quit`` stops it in order."""

    name: str
    command: Sequence[object]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    quit: signal.Signals = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, once it has ended."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """In a session of its own: Ctrl-C reaches it through us."""
        identity: dict[str, Any] = {} if self.user is None else {"user": self.user, "group": self.user}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in self.command],
                cwd=ROOT if self.user is None else self.folder,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **identity,
            )

    def signal(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """With every process of its own, at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def wait(self, seconds: float) -> int:
        """The exit status. Raises ``subprocess.TimeoutExpired``."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """In order, and after ``seconds`` at once. Returns the exit status."""
        assert self._process is not None
        self.signal(signal.SIGCONT)
        self.signal(self.quit)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        return self._process.returncode


def postgresql_programs() -> Path:
    """The folder of the newest PostgreSQL that Debian has installed, or of the one on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("pg_ctl")
    if not found and on_path is None:
        raise RuntimeError("PostgreSQL is not installed: `make servers` installs it.")
    return found[-1].parent if found else Path(str(on_path)).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
