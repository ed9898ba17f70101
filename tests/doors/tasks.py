"""The table of Celery's tasks: what each is given, and what it changes the first time that it runs.

A second run changes ``again`` and nothing else. With the names of another tenant's things, or of nothing, it changes
nothing and fails nothing: between the request and the task a person may have deleted what it is about.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatapp.celery import app

app.loader.import_default_modules()  # whichever of the tests a process runs first

ENDED = frozenset({"Generation", "LedgerEntry", "Message", "UsageDay"})


@dataclass(frozen=True)
class Task:
    """``arguments`` may name things."""

    arguments: tuple[str, ...]
    changes: frozenset[str]
    again: frozenset[str] = frozenset()


# In a world whose answers in line have been written, and not been read by anybody.
TASKS = {
    "accounts.purge": Task((), frozenset()),  # nothing was closed
    "accounts.send_invitation": Task(("{tenant}", "{invitation}", "0"), frozenset({"mails"}), frozenset({"mails"})),
    "chat.sweep": Task((), ENDED),
    "chat.stop": Task((), frozenset()),  # nobody was shut out
    "chat.erase": Task((), frozenset()),  # nobody asked for it
    "chat.purge": Task((), frozenset()),  # nothing was deleted
    "chat.title": Task(("{tenant}", "{question}"), frozenset({"Generation", "logs"})),
    "chat.collect_title": Task(("{tenant}", "{live_generation}"), ENDED),
    "feedback.roll_up": Task((), frozenset({"DailyRating", "RollUp"}), again=frozenset({"RollUp"})),
}


def names_of_tasks() -> set[str]:
    """Those that are ours."""
    return {name for name in app.tasks if not name.startswith("celery.")}
