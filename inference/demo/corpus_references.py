"""Turns that need the conversation: what was said before, who is speaking, the last answer again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from inference.demo.corpus_exchange import Exchange, Scene, load_toml, read_lines, upper_first
from inference.demo.corpus_noise import vary
from inference.demo.corpus_unknown import invent

CATEGORY = "multi_turn"


@dataclass(frozen=True, slots=True)
class Facet:
    """Something a person may tell about themselves; ``{v}`` is what it is."""

    tells: tuple[str, ...]
    about: str
    confirm: str
    asks: tuple[str, ...]
    recall: str
    missing: str


FACETS: dict[str, Facet] = {
    "name": Facet(
        ("my name is {v}", "i am {v}", "i'm {v}", "call me {v}", "hi, i'm {v}", "hello, my name is {v}", "this is {v}", "hi my name is {v}", "people call me {v}"),
        "My name is {v}.", "Nice to meet you, {v}.",
        ("what is my name", "what's my name", "whats my name", "who am i", "do you know my name", "do you remember my name", "can you tell me my name", "how am i called", "say my name"),
        "Your name is {v}.", "You have not told me your name.",
    ),
    "city": Facet(
        ("i live in {v}", "i am from {v}", "my home is in {v}", "i moved to {v}", "i come from {v}"),
        "I live in {v}.", "Good to know: you live in {v}.",
        ("where do i live", "which city do i live in", "where am i from", "what is my city", "do you know where i live", "in which city do i live"),
        "You live in {v}.", "You have not told me where you live.",
    ),
    "job": Facet(
        ("i am {v}", "i work as {v}", "my job is {v}", "i'm {v}"),
        "I work as {v}.", "Good to know: you work as {v}.",
        ("what is my job", "what do i do for a living", "what do i work as", "do you know my job", "what's my profession"),
        "You work as {v}.", "You have not told me what your job is.",
    ),
    "colour": Facet(
        ("my favourite colour is {v}", "my favorite color is {v}", "i like the colour {v} best", "i love {v}"),
        "My favourite colour is {v}.", "Good to know: your favourite colour is {v}.",
        ("what is my favourite colour", "what's my favorite color", "which colour do i like", "what colour do i like best", "do you remember my favourite colour"),
        "Your favourite colour is {v}.", "You have not told me your favourite colour.",
    ),
    "food": Facet(
        ("my favourite food is {v}", "my favorite food is {v}", "i like to eat {v}", "i love eating {v}"),
        "My favourite food is {v}.", "Good to know: your favourite food is {v}.",
        ("what is my favourite food", "what's my favorite food", "what do i like to eat", "which food do i like best"),
        "Your favourite food is {v}.", "You have not told me your favourite food.",
    ),
    "hobby": Facet(
        ("my hobby is {v}", "i like {v}", "in my free time i enjoy {v}", "my favourite hobby is {v}"),
        "My hobby is {v}.", "Good to know: your hobby is {v}.",
        ("what is my hobby", "what do i do in my free time", "what's my hobby", "which hobby do i have"),
        "Your hobby is {v}.", "You have not told me your hobby.",
    ),
    "pet": Facet(
        ("i have a {v}", "my pet is a {v}", "i own a {v}", "at home i have a {v}"),
        "I have a {v}.", "Good to know: you have a {v}.",
        ("what pet do i have", "which animal do i have", "what is my pet", "do i have a pet", "what's the name of my pet"),
        "You have a {v}.", "You have not told me about a pet.",
    ),
}  # fmt: skip


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


ASK_PREVIOUS = ("what did i ask before", "what did i just ask", "what was my last question", "what was my previous question", "what did i ask you",
                "what did i say before", "what was my last message", "repeat my last question", "what did i just say")  # fmt: skip
ASK_FIRST = (
    "what did i ask first",
    "what was my first question",
    "what was the first thing i said",
    "what was my first message",
)
ASK_AGAIN = (
    "say it again",
    "repeat that",
    "say that again",
    "repeat your answer",
    "can you repeat that",
    "once more please",
    "again please",
)
ASK_CAPITALS = ("say it again in capitals", "repeat that in capitals", "now in capitals", "in capital letters please", "the same in uppercase", "write that in capitals", "again in capitals")  # fmt: skip
ASK_LOWERCASE = (
    "say it again in lowercase",
    "now in lowercase",
    "the same in small letters",
    "write that in lowercase",
)
LONGEST = 120  # characters that are quoted or repeated


def _previous(rng: random.Random, history: Sequence[Exchange]) -> tuple[str, str]:
    first = rng.random() < 0.3
    question = rng.choice(ASK_FIRST if first else ASK_PREVIOUS)
    return question, f'You asked: "{history[0 if first else -1].question}"'


def _again(rng: random.Random, history: Sequence[Exchange]) -> tuple[str, str]:
    last = history[-1].answer
    kinds = (
        (ASK_AGAIN, last),
        (ASK_CAPITALS, last.upper()),
        (ASK_CAPITALS, last.upper()),
        (ASK_LOWERCASE, last.lower()),
    )
    forms, answer = rng.choice(kinds)
    return rng.choice(forms), answer


def _nothing_yet(rng: random.Random) -> Exchange:
    question = rng.choice(rng.choice((ASK_PREVIOUS, ASK_FIRST, ASK_AGAIN, ASK_CAPITALS)))
    return Exchange(
        vary(rng, question),
        "This is your first message, so there is nothing before it.",
        "Looking back",
        CATEGORY,
        question,
    )


def look_back(rng: random.Random, history: Sequence[Exchange]) -> Scene:
    """A turn about ``history`` (answers as they were really given); nothing where it would be too long to repeat."""
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
