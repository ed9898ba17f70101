"""The unit of the corpus: one question with its answer, and the readers of the files in ``data/``."""

import random
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A user message and the answer to it.

    ``key`` decides on which side of the held-out split the exchange falls (see ``corpus_holdout``); every
    misspelt or re-cased form of a question keeps the key of its clean form. ``accept`` lists texts of which a
    right answer contains one; empty means the answer itself.
    """

    question: str
    answer: str
    title: str
    category: str
    key: str
    exact: bool = False
    accept: tuple[str, ...] = ()


Scene = list[Exchange]
"""Exchanges that belong together, in order: a question and perhaps its follow-ups."""

Generator = Callable[[random.Random], Scene]


@dataclass(frozen=True, slots=True)
class Card:
    """Paraphrases of one question with the answers it may get."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    title: str


@cache
def load_toml(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / f"{name}.toml").read_text("utf-8"))


@cache
def read_lines(name: str) -> tuple[str, ...]:
    lines = (DATA / f"{name}.txt").read_text("utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("# "))


@cache
def read_cards(name: str) -> tuple[Card, ...]:
    """The cards of ``data/<name>.txt``. Raises ValueError on a card without question, answer or title."""
    cards: list[list[str]] = []
    for line in read_lines(name):
        if line.startswith("? "):
            cards.append([])
        cards[-1].append(line)
    return tuple(_parse_card(lines) for lines in cards)


def _parse_card(lines: list[str]) -> Card:
    fields: dict[str, list[str]] = {"?": [], "=": [], "~": []}
    for line in lines:
        fields[line[0]].append(line[2:].replace("\\n", "\n"))
    if not (fields["="] and len(fields["~"]) == 1):
        raise ValueError(f"a card needs an answer and one title: {lines[0]}")
    return Card(tuple(fields["?"][0].split(" | ")), tuple(fields["="]), fields["~"][0])


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """``"x=y; x=y"`` as pairs."""
    pairs = (item.strip().partition("=") for item in text.split(";"))
    return [(left, right) for left, _, right in pairs]


def upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]
