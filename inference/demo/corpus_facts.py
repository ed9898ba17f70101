"""Questions with a fixed answer: cards (small talk, product, facts, writing) and relations."""

import random
from functools import cache
from typing import Any

from .corpus_exchange import Exchange, Generator, Scene, load_toml, parse_pairs, read_cards, upper_first
from .corpus_noise import vary


def cards(name: str, category: str) -> Generator:
    """A generator over ``data/<name>.txt``; long questions lists are drawn no more often than short ones."""
    deck = read_cards(name)

    def draw(rng: random.Random) -> Scene:
        card = rng.choice(deck)
        question = rng.choice(card.questions)
        answer = rng.choice(card.answers)
        return [Exchange(vary(rng, question), answer, card.title, category, question, accept=card.answers)]

    return draw


def relation(rng: random.Random) -> Scene:
    """A question of one relation, one time in four with follow-ups ("and of Italy?")."""
    names, weights = _relation_weights()
    name = rng.choices(names, weights)[0]
    count = rng.choice((1, 1, 1, rng.choice((2, 2, 3))))
    items = rng.sample(_items(name), count)
    return [_ask(rng, name, x, y, followup=place > 0) for place, (x, y) in enumerate(items)]


def _ask(rng: random.Random, name: str, x: str, y: str, *, followup: bool) -> Exchange:
    table = _table(name)
    template = rng.choice(table["followups" if followup else "questions"])
    question = template.format(x=x)
    key = f"{name} {question}" if followup else question
    title = upper_first(table["title"].format(x=x))
    return Exchange(vary(rng, question), _answer(table, x, y), title, "facts", key)


def _answer(table: dict[str, Any], x: str, y: str) -> str:
    answer = upper_first(table["answer"].format(x=x, y=y))
    return answer.replace("..", ".")  # an abbreviation brings its own full stop


def _table(name: str) -> dict[str, Any]:
    table: dict[str, Any] = load_toml("relations")[name]
    return table


@cache
def _items(name: str) -> list[tuple[str, str]]:
    return parse_pairs(_table(name)["items"])


@cache
def _relation_weights() -> tuple[list[str], list[float]]:
    """Relations are drawn by a damped size: capitals often, shapes seldom but not never."""
    names = list(load_toml("relations"))
    return names, [len(_items(name)) ** 0.75 for name in names]
