"""How people really type: politeness, casing, punctuation and typing errors around a clean question."""

import random
import re

from .corpus_exchange import load_toml

FORMS: dict[str, list[str]] = load_toml("forms")["typing"]
BEGINNINGS: dict[str, list[str]] = load_toml("forms")["beginnings"]

QUESTION = re.compile(
    r"^(what|whats|who|where|when|which|why|how|is|are|can|do|does|did|in which|at what|should|will|may|have)"
    r"\b",
    re.I,
)
IMPERATIVE = re.compile(r"^(tell|give|name|write|list|show|explain|make|translate|count|say|describe|define)\b", re.I)
NEIGHBOURS = {
    "a": "s",
    "e": "r",
    "i": "o",
    "o": "p",
    "t": "r",
    "s": "d",
    "n": "m",
    "r": "t",
    "l": "k",
    "c": "v",
}
KEEP_LENGTH = 9  # shorter messages are left without typing errors: too little would stay readable


def vary(rng: random.Random, text: str) -> str:
    """One of the many ways to type ``text``; its meaning stays."""
    text = _wrap(rng, _contract(rng, text))
    if rng.random() < 0.12:
        text = misspell(rng, text)
    return _punctuate(rng, _recase(rng, text))


def _contract(rng: random.Random, text: str) -> str:
    """Another way to begin the same question."""
    for start, others in BEGINNINGS.items():
        if text.startswith(start) and rng.random() < 0.3:
            return rng.choice(others) + text.removeprefix(start)
    return text


def _wrap(rng: random.Random, text: str) -> str:
    draw = rng.random()
    if draw < 0.70 or "\n" in text or len(text) < KEEP_LENGTH:
        return text
    if draw < 0.76:
        return rng.choice(FORMS["openers"]) + text
    if draw < 0.80:
        return text + rng.choice(FORMS["tails"])
    if QUESTION.match(text):
        return rng.choice(FORMS["askers"]) + text
    return rng.choice(FORMS["doers"]) + text if IMPERATIVE.match(text) else text


def _recase(rng: random.Random, text: str) -> str:
    draw = rng.random()
    if draw < 0.42:
        return text[:1].upper() + text[1:]
    if draw < 0.70:
        return text.lower()
    return text.upper() if draw < 0.73 else text


def _punctuate(rng: random.Random, text: str) -> str:
    if text[-1:] in "?.!:)" or (text[-1:].isdigit() and not QUESTION.match(text)):
        return text
    if QUESTION.match(text) or rng.random() < 0.15:
        return text + rng.choices(("?", "", "??", " ?", "."), (58, 34, 3, 4, 1))[0]
    return text + rng.choices(("", ".", "!", "?"), (76, 16, 6, 2))[0]


def misspell(rng: random.Random, text: str) -> str:
    """One or two slips of the finger inside longer words."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    for place in rng.sample(long, min(len(long), rng.choice((1, 1, 2)))):
        words[place] = slip(rng, words[place])
    return " ".join(words)


def slip(rng: random.Random, word: str) -> str:
    """Swap, drop, double or miss one letter of ``word`` (at least three letters), never its first."""
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + NEIGHBOURS.get(word[at], word[at]) + word[at + 1 :]
