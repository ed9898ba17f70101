"""The product before a fake model server: PostgreSQL, Redis, one web process, one relaying worker, Celery."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.gateway.clients import Address
from benchmarks.gateway.processes import cpu_seconds, rss_bytes
from scripts.cluster import ROOT, Cluster

READY_SECONDS = 60.0
SLOTS = 1024
COUNTED = ("web", "worker", "redis", "postgresql")


class Upstream:
    """The model server's process. Ends with ``close``, or with this process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.gateway.upstream"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        self.address: Address = ("127.0.0.1", int(self._process.stdout.readline()))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


class Product:
    """Running within ``with``. ``people`` are logged in, each with a conversation."""

    def __init__(self, folder: Path, upstream: Upstream, people: int) -> None:
        several = {"CHATAPP_SOCKETS_PER_PERSON": "10000", "CHATAPP_SOCKETS_PER_WORKSPACE": "100000"}  # idle pages
        self._cluster = Cluster(folder, upstream=upstream.url + "/v1", workers=0, environment=several)
        self._cluster.webs = self._cluster.webs[:1]
        self._cluster.workers = [self._cluster.make_worker("worker", "--slots", str(SLOTS))]
        self._number = people
        self.slug, self.key, self.people = "", "", list[dict[str, str]]()

    def __enter__(self) -> Self:
        try:
            self._cluster.start()
            self._wait()
            self._fill()
        except BaseException:
            self._cluster.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._cluster.stop()

    @property
    def address(self) -> Address:
        host, _, port = self._cluster.url(self._cluster.webs[0]).removeprefix("http://").partition(":")
        return host, int(port)

    @property
    def pids(self) -> dict[str, int]:
        cluster = self._cluster
        programs = (cluster.webs[0], cluster.workers[0], cluster.redis, cluster.postgresql)
        return dict(zip(COUNTED, (program.pid for program in programs), strict=True))

    def cpu(self) -> dict[str, float]:
        """Seconds so far."""
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def rss(self) -> dict[str, int]:
        """Bytes now; of PostgreSQL its first process only."""
        return {name: rss_bytes(pid) for name, pid in self.pids.items()}

    def _wait(self) -> None:
        """Until a worker is ready: /readyz says so."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the product is not ready; its logs are in {self._cluster.folder}")
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        host, port = self.address
        try:
            return bool(urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=5).status == 200)
        except OSError:
            return False

    def _fill(self) -> None:
        command = [sys.executable, "-m", "benchmarks.gateway.people", str(self._number)]
        environment = os.environ | self._cluster.webs[0].environment
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
        told: dict[str, Any] = json.loads(done.stdout)
        self.slug, self.key, self.people = told["slug"], told["key"], told["people"]
