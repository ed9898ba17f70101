"""The real product as a child process: ``manage.py serve`` on SQLite with the demo model unless told otherwise."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from scripts.programs import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 120.0


@dataclass
class Product:
    """``start`` returns when /readyz says ready (or at once, with ``wait=False``). ``var`` keeps its data."""

    var: Path
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.var / "serve.log"

    def start(self, *, wait: bool = True) -> None:
        self.var.mkdir(parents=True, exist_ok=True)
        known = {
            name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_", "DJANGO_"))
        }
        own = {"CHATAPP_VAR": str(self.var), "PORT": str(self.port), "CHATAPP_MODEL": "demo"}
        environment = known | own | self.environment
        with self.log.open("ab") as log:
            command = [sys.executable, "manage.py", "serve"]
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.status("/readyz") != 200:
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"serve did not become ready:\n{self.log.read_text()}")
            time.sleep(0.1)

    def status(self, path: str) -> int | None:
        """The HTTP status, or None while nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def stop(self, how: signal.Signals = signal.SIGINT) -> float:
        """Seconds until the process had ended."""
        began = time.monotonic()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(30)
        return time.monotonic() - began

    def query(self, sql: str, *values: object) -> list[tuple]:
        """Rows straight from the product's database file."""
        connection = sqlite3.connect(f"file:{self.var / 'chatapp.sqlite3'}?mode=ro", uri=True, timeout=20)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def execute(self, sql: str, *values: object) -> None:
        """Change the product's database as an admin would, without the admin's pages."""
        connection = sqlite3.connect(self.var / "chatapp.sqlite3", timeout=20)
        with connection:
            connection.execute(sql, values)
        connection.close()

    def children(self) -> list[int]:
        """Process ids of everything the product has started."""
        assert self._process is not None
        listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}
        found, queue = [], [self._process.pid]
        while queue:
            parent = queue.pop()
            below = [pid for pid, above in parents.items() if above == parent]
            found += below
            queue += below
        return found
