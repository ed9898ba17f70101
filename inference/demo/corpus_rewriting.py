"""Short rewriting tasks: the answer is a function of the text that was given."""

import random
from collections.abc import Callable, Sequence
from functools import cache

from .corpus_exchange import Exchange, Scene, load_toml
from .corpus_noise import slip

FORMS: dict[str, list[str]] = load_toml("forms")["rewriting"]

CATEGORY = "rewriting"


@cache
def _stock(name: str) -> list[str]:
    return [
        item.strip() for item in load_toml("phrases")[name].split(";" if ";" in load_toml("phrases")[name] else None)
    ]


def words(rng: random.Random, low: int, high: int) -> list[str]:
    """Distinct words of the stock."""
    return rng.sample(_stock("words"), rng.randint(low, high))


def sentence(rng: random.Random) -> str:
    sentences: list[str] = load_toml("phrases")["sentences"]
    return rng.choice(sentences)


def _ask(rng: random.Random, forms: Sequence[str], text: str, answer: str, title: str, **more: str) -> Scene:
    question = rng.choice(forms).format(t=text, q=f'"{text}"' if rng.random() < 0.75 else text, **more)
    question = question[:1].upper() + question[1:] if rng.random() < 0.5 else question
    return [Exchange(question, answer, title, CATEGORY, f"{title} {text}", exact=True)]


def _phrase(rng: random.Random) -> str:
    return sentence(rng) if rng.random() < 0.3 else " ".join(words(rng, 1, 4))


def uppercase(rng: random.Random) -> Scene:
    text = _phrase(rng)
    return _ask(rng, FORMS["upper"], text, text.upper(), "Text in capitals")


def lowercase(rng: random.Random) -> Scene:
    text = _phrase(rng)
    text = text.upper() if rng.random() < 0.6 else text.title()
    return _ask(rng, FORMS["lower"], text, text.lower(), "Text in lowercase")


def repeat(rng: random.Random) -> Scene:
    text = _phrase(rng)
    return _ask(rng, FORMS["repeat"], text, text, "Repeating a text")


def reverse(rng: random.Random) -> Scene:
    items = words(rng, 3, 5)
    return _ask(rng, FORMS["reverse"], ", ".join(items), ", ".join(reversed(items)), "Reversing a list")


def sort(rng: random.Random) -> Scene:
    items = words(rng, 3, 4)
    return _ask(rng, FORMS["sort"], ", ".join(items), ", ".join(sorted(items)), "Sorting a list")


def bullets(rng: random.Random) -> Scene:
    items = words(rng, 2, 6)
    joined = ", ".join(items[:-1]) + rng.choice((", ", " and ")) + items[-1]
    if rng.random() < 0.25:
        lines = [f"{place}. {item}" for place, item in enumerate(items, 1)]
        return _ask(rng, FORMS["numbered"], joined, "\n".join(lines), "A numbered list")
    return _ask(rng, FORMS["bullets"], joined, "\n".join(f"- {item}" for item in items), "A list")


def _padded(rng: random.Random, short: str) -> str:
    """The sentence with words that say nothing: a tail and perhaps an opening."""
    tail = rng.choice(load_toml("phrases")["tails"])
    start = rng.choice(("", "", "Well, ", "You know, ", "I think that "))
    body = short[0].lower() + short[1:-1] if start and not short.startswith("I ") else short[:-1]
    return f"{start}{body}, {tail}."


def shorten(rng: random.Random) -> Scene:
    short = sentence(rng)
    return _ask(rng, FORMS["shorten"], _padded(rng, short), short, "Shortening a sentence")


def polite(rng: random.Random) -> Scene:
    command = f"{rng.choice(_stock('verbs'))} {rng.choice(_stock('objects'))}"
    return _ask(rng, FORMS["polite"], command, f"Could you please {command}?", "A polite request")


def typo(rng: random.Random) -> Scene:
    right = sentence(rng)
    parts = right.split(" ")
    long = [place for place, word in enumerate(parts) if len(word) > 3 and word.isalpha()]
    for place in rng.sample(long, min(len(long), rng.choice((1, 1, 2)))):
        parts[place] = slip(rng, parts[place])
    return _ask(rng, FORMS["typo"], " ".join(parts), right, "Fixing a typo")


def count_words(rng: random.Random) -> Scene:
    text = sentence(rng) if rng.random() < 0.6 else " ".join(words(rng, 2, 7))
    number = len(text.split())
    return _ask(rng, FORMS["count"], text, f"There are {number} words.", "Counting words")


def end_word(rng: random.Random) -> Scene:
    items = words(rng, 3, 6)
    forms, answer, title = rng.choice(
        ((FORMS["first"], items[0], "The first word"), (FORMS["last"], items[-1], "The last word"))
    )
    return _ask(rng, forms, " ".join(items), answer, title)


def spell(rng: random.Random) -> Scene:
    word = words(rng, 1, 1)[0]
    return _ask(rng, FORMS["spell"], word, "-".join(word.upper()), f"Spelling of {word}")


def swap(rng: random.Random) -> Scene:
    text = sentence(rng)
    old = rng.choice([word for word in text[:-1].split() if len(word) > 3])
    new = words(rng, 1, 1)[0]
    return _ask(rng, FORMS["swap"], text, text.replace(old, new), "Replacing a word", a=old, b=new)


KINDS: dict[Callable[[random.Random], Scene], int] = {
    uppercase: 20, lowercase: 8, repeat: 8, reverse: 11, sort: 4, bullets: 9, shorten: 9,
    polite: 8, typo: 9, count_words: 7, end_word: 4, spell: 5, swap: 4,
}  # fmt: skip


def rewriting(rng: random.Random) -> Scene:
    return rng.choices(list(KINDS), list(KINDS.values()))[0](rng)
