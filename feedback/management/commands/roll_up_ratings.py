"""Count answers and ratings now, by hand."""

from __future__ import annotations

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from accounts.scoping import all_tenants
from feedback.rollup import roll_up_ratings


def whole_days(text: str) -> int:
    """A number of days from 1. argparse names the option and the value when it is not."""
    days = int(text)
    if days < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of days from 1")
    return days


class Command(BaseCommand):
    help = "Count the answers and ratings of the last days again, for every workspace."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--days", type=whole_days, default=settings.CHATAPP_ROLL_UP_DAYS)

    def handle(self, *args: Any, days: int, **options: Any) -> None:
        with all_tenants():
            changed = roll_up_ratings(days=days)
        noun = "row" if changed == 1 else "rows"
        self.stdout.write(f"Counted the last {days} days: {changed} {noun} changed.")
