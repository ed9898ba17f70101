"""``manage.py serve``: the whole product in one command."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chatapp.serve.embedded import Embedded, lock_data, prepare, require_free
from chatapp.serve.engine_options import EngineOptions
from chatapp.settings.environment import env


class Command(BaseCommand):
    help = "Serve pages, sockets, the model and background work from this one process. Needs no other service."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=env.text("HOST", "127.0.0.1"))
        parser.add_argument("--port", type=int, default=env.integer("PORT", 8000, low=1, high=65_535))
        parser.add_argument("--server", choices=("uvicorn", "daphne"), default="uvicorn")
        parser.add_argument("--model", default="", help="demo, a folder, a GGUF file or a hub name (CHATAPP_MODEL)")

        workers = env.integer("CHATAPP_WORKERS", 1, low=1, high=64)
        parser.add_argument("--workers", type=int, default=workers, help="engines beside the web (CHATAPP_WORKERS)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            engine = EngineOptions.from_environment(options["model"], options["workers"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        require_free(options["host"], options["port"])
        lock = lock_data()
        prepare(self._say)
        self._explain_host(options["host"])
        if words := engine.explain_absence():
            self._say(words)
        Embedded(
            host=options["host"], port=options["port"], server=options["server"], engine=engine, say=self._say
        ).run()
        lock.close()

    def _explain_host(self, host: str) -> None:
        """Django answers only to names it knows: other machines need theirs in ALLOWED_HOSTS."""
        if host not in ("127.0.0.1", "localhost", "::1") and "ALLOWED_HOSTS" not in os.environ:
            self._say(
                "Other machines need the name they use in ALLOWED_HOSTS, for example ALLOWED_HOSTS=chat.local,localhost"
            )

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
