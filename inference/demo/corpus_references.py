"""Turns that need the conversation: what was said before, who is speaking, the last answer again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .corpus_exchange import Exchange, Scene, load_toml, read_lines, upper_first
from .corpus_noise import vary
from .corpus_unknown import invent

FORMS: dict[str, list[str]] = load_toml("forms")["looking_back"]

CATEGORY = "multi_turn"


@dataclass(frozen=True, slots=True)
class Facet:
    """Something a person may tell about themselves; ``{v}`` is what it is."""

    tells: list[str]
    about: str
    confirm: str
    asks: list[str]
    recall: str
    missing: str


FACETS = {kind: Facet(**facet) for kind, facet in load_toml("forms")["facets"].items()}


def draw_value(rng: random.Random, kind: str) -> str:
    """A plausible value; names are sometimes invented, so that they must be copied and cannot be guessed."""
    stock = load_toml("phrases")
    if kind == "name":
        return rng.choice(read_lines("names")[0].split()) if rng.random() < 0.7 else invent(rng).capitalize()
    if kind == "pet":
        return f"{rng.choice(stock['pets'].split('; '))} called {rng.choice(stock['pet_names'].split())}"
    plural = {"city": "cities", "job": "jobs", "colour": "colours", "food": "foods", "hobby": "hobbies"}[kind]
    text: str = stock[plural]
    return rng.choice(text.split("; ") if ";" in text else text.split())


def tell(rng: random.Random, kind: str, value: str) -> Exchange:
    """The person says something about themselves; only the words around the value are varied."""
    facet = FACETS[kind]
    question = rng.choice(facet.tells).format(v=value)
    typed = _light(rng, question)
    return Exchange(typed, facet.confirm.format(v=value), f"My {kind}", CATEGORY, question)


def ask(rng: random.Random, kind: str, value: str | None) -> Exchange:
    """The person asks for it later; ``None`` when it was never said."""
    facet = FACETS[kind]
    question = rng.choice(facet.asks)
    answer = facet.missing if value is None else facet.recall.format(v=value)
    return Exchange(vary(rng, question), answer, f"My {kind}", CATEGORY, f"{question} {value}")


def _light(rng: random.Random, text: str) -> str:
    return (upper_first(text) if rng.random() < 0.5 else text) + rng.choice(("", "", "."))


LONGEST = 120  # characters that are quoted or repeated


def _previous(rng: random.Random, history: Sequence[Exchange]) -> tuple[str, str]:
    first = rng.random() < 0.3
    question = rng.choice(FORMS["first"] if first else FORMS["previous"])
    return question, f'You asked: "{history[0 if first else -1].question}"'


def _again(rng: random.Random, history: Sequence[Exchange]) -> tuple[str, str]:
    last = history[-1].answer
    kinds = (
        (FORMS["again"], last),
        (FORMS["capitals"], last.upper()),
        (FORMS["capitals"], last.upper()),
        (FORMS["lowercase"], last.lower()),
    )
    forms, answer = rng.choice(kinds)
    return rng.choice(forms), answer


def _nothing_yet(rng: random.Random) -> Exchange:
    question = rng.choice(rng.choice((FORMS["previous"], FORMS["first"], FORMS["again"], FORMS["capitals"])))
    return Exchange(
        vary(rng, question),
        "This is your first message, so there is nothing before it.",
        "Looking back",
        CATEGORY,
        question,
    )


def look_back(rng: random.Random, history: Sequence[Exchange]) -> Scene:
    """A turn about ``history`` (answers as really given); empty where it would be too long to repeat."""
    if not history:
        return [_nothing_yet(rng)]
    make = rng.choice((_previous, _again))
    question, answer = make(rng, history)
    if len(answer) > LONGEST:
        return []
    return [
        Exchange(
            vary(rng, question),
            answer,
            "Looking back",
            CATEGORY,
            f"{question} {answer}",
            exact=make is _again,
        )
    ]
