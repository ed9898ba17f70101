"""The product as many processes on one machine: ``python -m scripts.cluster``, behind ``make cluster``.

PostgreSQL, Redis, two web processes behind nginx, two inference workers, Celery and its beat, on the settings of
production. Each is a ``Program`` that can be stopped, killed and started again by itself; ``tests/faults`` does that.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from scripts.programs import ROOT, Program, free_port, postgresql_programs, wait_for_port

DEMO_MODEL = ROOT / "inference" / "demo" / "model"
START_SECONDS = 60.0
WATCH_SECONDS = 1.0


class Cluster:
    """``start`` returns when the pages are there, ``wait_until_ready`` when a person could get an answer. ``upstream``:
    relay to this address rather than load the demo model. Ports are free ones; ``port`` is nginx's, None leaves nginx
    out.
    """

    def __init__(
        self, folder: Path, *, upstream: str = "", port: int | None = None, workers: int = 2, environment: Any = None
    ) -> None:
        self.folder, self._upstream, self._port = folder, upstream, port
        self._ports = {name: free_port() for name in ("postgresql", "redis", "web-1", "web-2")}
        self._environment = self._settings() | (environment or {})
        self.postgresql, self.redis = self._make_postgresql(), self._make_redis()
        self.webs = [self._make_web(f"web-{number}") for number in (1, 2)]
        self.workers = [self.make_worker(f"worker-{number + 1}") for number in range(workers)]
        self.celery, self.periodic = self._make_celery("celery", 8), self._make_celery("periodic", 4)
        self.beat = self._make_beat()
        self.proxy = [] if port is None else [self.make_nginx(port)]

    @property
    def database_url(self) -> str:
        return f"postgresql://chatapp@127.0.0.1:{self._ports['postgresql']}/chatapp"

    @property
    def redis_port(self) -> int:
        return self._ports["redis"]

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self._ports['redis']}/0"

    def url(self, web: Program) -> str:
        return f"http://127.0.0.1:{self._ports[web.name]}"

    def programs(self) -> list[Program]:
        """In the order of their start."""
        return [self.postgresql, self.redis, *self.webs, *self.workers, *self.background, *self.proxy]

    @property
    def background(self) -> list[Program]:
        return [self.celery, self.periodic, self.beat]

    def start(self) -> None:
        self._start_postgresql()
        self.redis.start()
        self._manage("migrate", "--verbosity", "0", "--no-input")
        self._manage("collectstatic", "--verbosity", "0", "--no-input")
        self._manage("unavailable_page", str(self.folder / "unavailable.html"))
        for program in [*self.webs, *self.workers, *self.background, *self.proxy]:
            program.start()
        for web in self.webs:
            wait_for_port(self._ports[web.name])

    def wait_until_ready(self) -> None:
        """Until every web process knows of a worker with its model. Raises TimeoutError."""
        deadline = time.monotonic() + START_SECONDS
        while not all(answers(f"{self.url(web)}/readyz") for web in self.webs):
            if time.monotonic() > deadline:
                raise TimeoutError(f"No worker is ready after {START_SECONDS:.0f} s; see the logs in {self.folder}")
            time.sleep(0.2)

    def stop(self) -> None:
        """In the order that loses nothing: whoever asks before whoever answers, the servers last."""
        for program in reversed(self.programs()):
            if program.running:
                program.stop()

    # What each is

    def _settings(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "chatapp.settings.production",
            "SECRET_KEY": read_or_make_secret(self.folder / "secret_key"),
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "CSRF_TRUSTED_ORIGINS": "",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "CHATAPP_REDIS_URL": "",
            "METRICS_TOKEN": "only-on-this-machine",
            "SECURE_SSL_REDIRECT": "false",
            "EMAIL_VERIFICATION": "none",
            "CHATAPP_LOG_LEVEL": "WARNING",
            "CHATAPP_VAR": str(self.folder),
            "OMP_NUM_THREADS": "1",
        }

    def _make_postgresql(self) -> Program:
        data = self.folder / "postgresql"
        command = [postgresql_programs() / "postgres", "-D", data, "-p", self._ports["postgresql"], "-k", data]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        user = "postgres" if os.geteuid() == 0 else None
        return Program("postgresql", command, self.folder, {}, user, quit=signal.SIGINT)

    def _make_redis(self) -> Program:
        command = ["redis-server", "--port", self._ports["redis"], "--bind", "127.0.0.1", "--save", ""]
        return Program("redis", [*command, "--appendonly", "no", "--dir", self.folder], self.folder)

    def _make_web(self, name: str) -> Program:
        command = [sys.executable, "-m", "uvicorn", "chatapp.asgi:application", "--host", "127.0.0.1"]
        command += ["--port", str(self._ports[name]), "--log-level", "warning", "--ws-per-message-deflate", "false"]
        command += ["--http", "chatapp.serve.http_connections:Http"]
        command += ["--ws", "chatapp.serve.web_sockets:WebSockets", "--ws-max-size", "200000"]
        command += ["--timeout-graceful-shutdown", "5"]
        return Program(name, command, self.folder, self._environment)

    def make_worker(self, name: str, *arguments: str) -> Program:
        """A worker of this cluster. It gets the address of Redis and nothing else."""
        command = [sys.executable, "-m", "inference.worker", "--name", name, "--redis", self.redis_url]
        if self._upstream:
            command += ["--engine", "openai", "--model", "fake", "--upstream", self._upstream, "--slots", "64"]
        else:
            command += ["--model", "demo", "--demo", "--path", str(DEMO_MODEL), "--threads", "1"]
        return Program(name, [*command, *arguments], self.folder)

    def _make_celery(self, queue: str, threads: int) -> Program:
        command = [sys.executable, "-m", "celery", "--quiet", "-A", "chatapp", "worker", "--pool", "threads"]
        command += ["--queues", queue, "--hostname", f"{queue}@%h", "--concurrency", threads, "--loglevel", "WARNING"]
        command += ["--without-gossip", "--without-mingle"]  # with them a lost connection to Redis ends it for good
        return Program(queue, command, self.folder, self._environment)

    def _make_beat(self) -> Program:
        command = [sys.executable, "-m", "celery", "--quiet", "-A", "chatapp", "beat", "--loglevel", "WARNING"]
        command += ["--schedule", str(self.folder / "celery-schedule"), "--pidfile", ""]
        return Program("beat", command, self.folder, self._environment)

    def make_nginx(self, port: int) -> Program:
        servers = "".join(f"        server 127.0.0.1:{self._ports[web.name]} max_fails=0;\n" for web in self.webs)
        user = "user root;" if os.geteuid() == 0 else ""  # else its workers could not read the folder
        text = (ROOT / "scripts" / "nginx.conf").read_text()
        for name, value in {
            "@FOLDER@": str(self.folder),
            "@PORT@": str(port),
            "@SERVERS@": servers,
            "@USER@": user,
        }.items():
            text = text.replace(name, value)
        config = self.folder / "nginx.conf"
        config.write_text(text)
        return Program("nginx", ["nginx", "-c", config, "-p", self.folder], self.folder, quit=signal.SIGQUIT)

    # Starting

    def _start_postgresql(self) -> None:
        data = self.folder / "postgresql"
        if not data.exists():
            data.mkdir(mode=0o700)
            if self.postgresql.user:
                shutil.chown(data, self.postgresql.user, self.postgresql.user)
            command = [postgresql_programs() / "initdb", "-D", data, "-U", "chatapp", "--auth=trust", "-E", "UTF8"]
            made = Program("initdb", command, self.folder, {}, self.postgresql.user)
            made.start()
            if made.wait(START_SECONDS) != 0:
                raise RuntimeError(f"initdb failed; see {made.log}")
        self.postgresql.start()
        self.wait_for_postgresql()

    def wait_for_postgresql(self) -> None:
        """Until it answers; makes the database when it is not there yet."""
        import psycopg

        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                address = self.database_url.removesuffix("chatapp") + "postgres"
                with psycopg.connect(address, autocommit=True) as connection:
                    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'chatapp'").fetchone()
                    if found is None:
                        connection.execute("CREATE DATABASE chatapp")
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _manage(self, *arguments: str) -> None:
        command = [sys.executable, "manage.py", *arguments]
        subprocess.run(command, cwd=ROOT, env=os.environ | self._environment, check=True)


def read_or_make_secret(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50))
    return path.read_text()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def watch(cluster: Cluster) -> None:
    """Start again whatever ends, until Ctrl-C or SIGTERM."""
    while True:
        time.sleep(WATCH_SECONDS)
        for program in cluster.programs():
            if not program.running:
                print(f"{program.name} ended with {program.status}; starting it again (log: {program.log})", flush=True)
                program.start()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000), help="nginx's")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "cluster", help="data and logs")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = Cluster(folder, port=options.port)
    try:
        cluster.start()
        cluster.wait_until_ready()
        print(f"http://localhost:{options.port} (logs and data in {folder}). Stop with Ctrl-C.", flush=True)
        for program in cluster.programs():
            print(f"  {program.name:<12} pid {program.pid}", flush=True)
        watch(cluster)
    except KeyboardInterrupt:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second one would leave programs behind
        print("Stopping", flush=True)
        cluster.stop()


if __name__ == "__main__":
    main()
