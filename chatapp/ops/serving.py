"""The embedded product: pages and sockets, with an engine and a Celery worker as children.

``prepare`` brings database and static files up to date, ``Embedded.run`` serves until it is told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import IO, Any

from channels.layers import get_channel_layer
from channels.routing import get_default_application
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.scoping import all_tenants
from chatapp.common.transport import install_transport, socket_key, socket_path
from chatapp.generation.models import Generation
from chatapp.generation.sweeping import sweep_generations
from inference.messages import WorkerReport
from inference.transport import MemoryTransport, serve_local
from inference.transport.journal import Journal

from .engine_options import EngineOptions

WORKER = "embedded"
CELERY_THREADS = "8"  # a title waits in its thread for the model; the sweep must find another one
STOP_SECONDS = 2.5  # for Celery to finish; the whole stop is promised within five
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
            heartbeat=HEARTBEAT_SECONDS, journal=Journal(settings.VAR_DIR / "run" / "journal")
        )
        self._stopped = threading.Event()

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM. Every child has ended when this returns."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end as KeyboardInterrupt
        os.umask(0o077)  # conversations are for whoever runs this, not for the machine's other users
        install_transport(self._transport)
        self._report("starting", "Starting")
        self._recover()
        self._children = [
            Child("Background work", start_celery),
            Child("The engine", self._start_engine, self._bury_engine),
        ]
        threading.Thread(target=self._tell_progress, name="progress", daemon=True).start()
        threading.Thread(target=self._watch_children, name="watch", daemon=True).start()
        try:
            (run_uvicorn if self._server == "uvicorn" else run_daphne)(self._host, self._port, self._open_socket)
        except KeyboardInterrupt:
            pass  # the server has closed its connections and passed the signal on
        finally:
            self._say("Stopping")
            self._stopped.set()
            stop_children([child.process for child in self._children])

    def _recover(self) -> None:
        """What a killed process left: written answers are saved, waiting ones are queued again."""
        with all_tenants():
            found = sweep_generations(grace=timedelta(0))
            open_ones = set(map(str, Generation.objects.unfinished().values_list("pk", flat=True)))
        for generation in self._transport.unreleased() - open_ones:
            self._transport.release(generation)  # saved before the kill, or deleted since
        if found:
            self._say("Recovered answers: " + ", ".join(f"{count} {what}" for what, count in found.items()))

    def _open_socket(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let Celery's tasks reach the transport, and pages in ``loop`` hear their hints."""

        def hint(group: str, message: dict[str, Any]) -> None:
            asyncio.run_coroutine_threadsafe(get_channel_layer().group_send(group, message), loop)

        serve_local(socket_path(), socket_key(), self._transport, hint)

    def _start_engine(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "inference.worker", "--socket", str(socket_path()), "--name", WORKER]
        command += ["--grace", "0"]  # unfinished answers are found again at the next start
        environment = os.environ | {"CHATAPP_TRANSPORT_KEY": socket_key().hex()}
        return start_child([*command, *self._engine.arguments()], environment)

    def _bury_engine(self) -> None:
        """Its answers need not wait for a lease to end: the next engine goes on with them."""
        self._transport.bury(WORKER)
        self._report("starting", "Starting again")

    def _watch_children(self) -> None:
        """What has died is started again; the pause keeps a broken one from spinning."""
        while not self._stopped.wait(WATCH_SECONDS):
            for child in self._children:
                if (code := child.process.poll()) is not None and not self._stopped.is_set():
                    self._say(f"{child.name} ended with {code}; starting it again")
                    child.ended()
                    child.process = child.start()

    def _report(self, state: Any, detail: str) -> None:
        report = WorkerReport(WORKER, state, self._engine.model, demo=self._engine.demo, detail=detail, at=time.time())
        self._transport.renew(WORKER, report)

    def _tell_progress(self) -> None:
        """Say what the engine does, a line for every change, until it is ready or has failed."""
        said = ""
        while not self._stopped.wait(0.2):
            report = next(iter(self._transport.stats().workers), None)
            if report is None:
                continue
            if report.state == "ready":
                self._say(f"Ready at {self._url()} ({self._engine.label}). Stop with Ctrl-C.")
                return
            if report.state == "failed":
                self._say(f"No model: {report.detail}\nThe pages are up at {self._url()}, without answers.")
                return
            line = f"{report.detail} {report.progress:.0%}" if report.progress else report.detail
            if line != said:
                self._say(line)
                said = line

    def _url(self) -> str:
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._host, self._host)  # noqa: S104
        return f"http://{shown}:{self._port}"


def run_uvicorn(host: str, port: int, on_loop: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    import uvicorn
    import uvloop

    config = uvicorn.Config(
        "chatapp.asgi:application",
        host=host,
        port=port,
        log_config=None,
        log_level="warning",
        ws_max_size=4 * settings.CHATAPP_MAX_MESSAGE_CHARACTERS + 10_000,  # a character takes at most 4 bytes
        ws_per_message_deflate=False,  # frames of a few words grow by it, and cost more than they save
        timeout_graceful_shutdown=1,
    )

    async def serve() -> None:
        on_loop(asyncio.get_running_loop())
        await uvicorn.Server(config).serve()

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve())


def run_daphne(host: str, port: int, on_loop: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server, twisted_loop

    on_loop(twisted_loop)
    Server(get_default_application(), endpoints=build_endpoint_description_strings(host=host, port=port)).run()


class Child:
    """A process of ours, how to start it again, and what to do when it has ended."""

    def __init__(
        self, name: str, start: Callable[[], subprocess.Popen[bytes]], ended: Callable[[], None] = lambda: None
    ) -> None:
        self.name, self.start, self.ended = name, start, ended
        self.process = start()


def start_celery() -> subprocess.Popen[bytes]:
    """A worker with beat."""
    for folder in ("queue", "control"):
        (settings.VAR_DIR / "celery" / folder).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "chatapp", "worker", "--beat", "--pool", "threads"]
    command += ["--concurrency", CELERY_THREADS, "--schedule", str(settings.VAR_DIR / "celery" / "schedule")]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", settings.LOG_LEVEL]
    # The queue is a folder of ours, so Celery's warning about root and messages from strangers says nothing here.
    quiet = "ignore::RuntimeWarning:celery.platforms,ignore:You're running the worker"
    return start_child(command, os.environ | {"PYTHONWARNINGS": quiet})


def start_child(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C reaches it through us; on Linux it ends when we are killed."""
    return subprocess.Popen(
        command,
        env=environment,
        cwd=settings.BASE_DIR,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 -- it only calls prctl
    )


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
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # Celery's beat can outlive its parent


def _die_with_parent() -> None:
    """Linux: when the serving process is killed, its child is told to end as well."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
