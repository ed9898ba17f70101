"""``manage.py unavailable_page PATH``: what a proxy shows people while no web process answers."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from chatapp.web.error_responses import unavailable_page


class Command(BaseCommand):
    help = "Write the page for people that says that the service cannot be reached, for a proxy to show."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        options["path"].write_text(unavailable_page("", retry_after=5))
