"""The embedded product: pages and sockets, with an engine and a Celery worker as children.

``prepare`` brings database and static files up to date, ``Embedded.run`` serves until it is told to stop.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import IO, Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.scoping import all_tenants
from chatapp.chat.models import Generation
from chatapp.chat.sweeping import release_recorded, sweep_generations
from chatapp.queue.model_status import model_json
from chatapp.queue.transport import install_transport, socket_key, socket_path
from inference.messages import WorkerReport
from inference.model_names import introduce
from inference.transport import MemoryTransport, serve_local
from inference.transport.journal import Journal

from .children import Child, end_group, start_celery, start_child, start_periodic, stop_children
from .embedder import WORKER as EMBEDDER
from .embedder import embedder_arguments, explain_absence
from .engine_options import EngineOptions
from .servers import run_daphne, run_uvicorn

logger = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
HEARTBEAT_SECONDS = 30.0  # longer than a child needs to load torch on a busy machine, before its first word

Say = Callable[[str], None]


def prepare(say: Say) -> None:
    """Tables and static files as this version needs them; quick when they already are."""
    say("Preparing the database and the pages")
    call_command("migrate", verbosity=0, interactive=False)
    call_command("collectstatic", verbosity=0, interactive=False)


def lock_data() -> IO[str]:
    """Hold ``var`` for this process alone, until it ends. Raises ``CommandError`` when another serves from it."""
    path = settings.VAR_DIR / "run" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        text = f"chatapp is already running with the data in {settings.VAR_DIR}. Stop it, or set CHATAPP_VAR."
        raise CommandError(text) from None
    return lock


def require_free(host: str, port: int) -> None:
    """Raises ``CommandError`` with what to do when something else listens there already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(f"Cannot listen on {host}:{port} ({error.strerror}). Try PORT={port + 1}.") from None


class Embedded:
    """Pages, sockets and the transport in this process; engine and Celery in children, watched."""

    def __init__(self, *, host: str, port: int, server: str, engine: EngineOptions, say: Say) -> None:
        self._host, self._port, self._server, self._engine, self._say = host, port, server, engine, say
        self._transport = MemoryTransport(
            lease=engine.lease_seconds,
            heartbeat=HEARTBEAT_SECONDS,
            journal=Journal(settings.VAR_DIR / "run" / "journal"),
        )
        self._stopped = threading.Event()
        self._close_socket: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM. Every child has ended when this returns."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end as KeyboardInterrupt
        os.umask(0o077)  # conversations are for whoever runs this, not for the machine's other users
        install_transport(self._transport)
        workers = self._engine.worker_names()
        for worker in workers:
            self._report(worker, "starting", "Starting")
        self._recover()
        self._children = [Child("Background work", start_celery), Child("Periodic work", start_periodic)]
        for number, worker in enumerate(workers):
            name = "The engine" if len(workers) == 1 else f"The engine of {worker}"
            start, ended = partial(self._start_engine, worker, number), partial(self._bury_engine, worker)
            self._children.append(Child(name, start, ended))
        self._add_embedder()
        threading.Thread(target=self._tell_progress, name="progress", daemon=True).start()
        threading.Thread(target=self._watch_children, name="watch", daemon=True).start()
        try:
            (run_uvicorn if self._server == "uvicorn" else run_daphne)(self._host, self._port, self._open_socket)
        except KeyboardInterrupt:
            pass  # the server has closed its connections and passed the signal on
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # a second one would leave children behind
            self._say("Stopping")
            self._stopped.set()
            stop_children([child.process for child in self._children])
            self._close_socket()

    def _recover(self) -> None:
        """What a killed process left: written answers are saved, waiting ones queued again, for the model there is."""
        with all_tenants():
            waiting = Generation.objects.unfinished().filter(state=Generation.State.QUEUED)
            waiting.exclude(model=self._engine.model).update(model="")
            found = sweep_generations(grace=timedelta(0))
            release_recorded()
        if found:
            self._say("Recovered answers: " + ", ".join(f"{count} {what}" for what, count in found.items()))

    def _open_socket(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let Celery's tasks reach the transport, and pages in ``loop`` hear their hints."""

        def hint(group: str, message: dict[str, Any]) -> None:
            asyncio.run_coroutine_threadsafe(get_channel_layer().group_send(group, message), loop)

        self._close_socket = serve_local(socket_path(), socket_key(), self._transport, hint)

    def _add_embedder(self) -> None:
        arguments = embedder_arguments()
        if arguments is not None:
            start, ended = partial(self._start_worker, EMBEDDER, arguments), partial(self._transport.bury, EMBEDDER)
            self._children.append(Child("The embedder", start, ended))
        elif words := explain_absence():
            self._say(words)

    def _start_engine(self, worker: str, number: int) -> subprocess.Popen[bytes]:
        environment = {"CHATAPP_MODEL_CACHE": self._engine.model_cache} | self._engine.environment(number)
        return self._start_worker(worker, self._engine.arguments(), environment)

    def _start_worker(
        self, worker: str, arguments: list[str], more: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "inference.worker", "--socket", str(socket_path()), "--name", worker]
        command += ["--grace", "0"]  # unfinished answers are found again at the next start
        command += ["--parent", str(os.getpid())]
        environment = os.environ | {"CHATAPP_TRANSPORT_KEY": socket_key().hex()}
        return start_child([*command, *arguments], {**environment, **more})

    def _bury_engine(self, worker: str) -> None:
        """Its answers need not wait for a lease to end: another engine, or the next one, goes on with them."""
        self._transport.bury(worker)
        self._report(worker, "starting", "Starting again")

    def _watch_children(self) -> None:
        """What has died is started again; the pause keeps a broken one from spinning."""
        while not self._stopped.wait(WATCH_SECONDS):
            for child in self._children:
                try:
                    self._watch(child)
                except Exception:  # a watch that ended would leave what dies dead
                    logger.exception("%s could not be started again", child.name)

    def _watch(self, child: Child) -> None:
        if (code := child.process.poll()) is not None and not self._stopped.is_set():
            self._say(f"{child.name} ended with {code}; starting it again")
            end_group(child.process)
            child.ended()
            child.process = child.start()

    def _report(self, worker: str, state: Any, detail: str) -> None:
        report = WorkerReport(worker, state, demo=self._engine.demo, detail=detail, at=time.time())
        self._transport.renew(worker, introduce(report, self._engine.card))

    def _tell_progress(self) -> None:
        """Say what the engine that is furthest does, a line for every change, until it is ready or all have failed."""
        said = ""
        while not self._stopped.wait(0.2):
            model = model_json(self._transport.stats())
            if model["state"] == "ready":
                self._say(f"Ready at {self._url()} ({self._engine.label}). Stop with Ctrl-C.")
                return
            if model["state"] == "failed":
                self._say(f"No model: {model['detail']}\nThe pages are up at {self._url()}, without answers.")
                return
            line = f"{model['detail']} {model['progress']:.0%}" if model["progress"] else model["detail"]
            if line != said:
                self._say(line)
                said = line

    def _url(self) -> str:
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._host, self._host)  # noqa: S104
        return f"http://{shown}:{self._port}"
