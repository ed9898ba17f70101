"""Everything else: a wide spread of questions the model was not taught, answered with an honest no."""

import random
from typing import Any

from .corpus_exchange import Exchange, Scene, load_toml
from .corpus_noise import vary

ONSETS: list[str] = load_toml("phrases")["onsets"].split()
NUCLEI = ("a", "e", "i", "o", "u", "ai", "ee", "oo", "ou", "ia")
CODAS = ("", "", "n", "r", "l", "s", "m", "t", "ck", "nd", "x", "ng")
STOPWORDS = frozenset(load_toml("phrases")["stopwords"].split())


def invent(rng: random.Random) -> str:
    """A word that means nothing, such as a name nobody has heard of."""
    count = rng.choice((2, 2, 3))
    return "".join(rng.choice(ONSETS) + rng.choice(NUCLEI) + rng.choice(CODAS) for _ in range(count))


def _invented_name(rng: random.Random) -> str:
    first = invent(rng).capitalize()
    return (
        f"{first} {invent(rng).capitalize()}"
        if rng.random() < 0.3
        else rng.choice((first, first.lower(), f"a {first.lower()}"))
    )


def _fill(rng: random.Random, data: dict[str, Any]) -> str:
    kind = rng.choices("xnpt", (40, 25, 18, 17))[0]
    x, x2 = rng.sample(data["topics"], 2)
    thing = rng.choice(data["things"])
    bare = thing.removeprefix("my ").removeprefix("a ").removeprefix("an ").removeprefix("the ")
    template: str = rng.choice(data[f"templates_{kind}"])
    return template.format(x=x, x2=x2, n=_invented_name(rng), p=rng.choice(data["people"]), t=thing, t2=bare)


def unknown(rng: random.Random) -> Scene:
    data = load_toml("unknown_topics")
    question = rng.choice(data["questions"]) if rng.random() < 0.4 else _fill(rng, data)
    answer = rng.choice(data["answers"])
    return [Exchange(vary(rng, question), answer, title_of(question), "unknown", question, accept=("demo model",))]


def title_of(question: str) -> str:
    """Two to five telling words of a question, in sentence case."""
    telling = [word.strip("?,.!") for word in question.split()]
    kept = [word for word in telling if word.lower() not in STOPWORDS] or telling
    text = " ".join(kept[:5]) if len(kept) > 1 else f"About {' '.join(kept)}"
    return text[:1].upper() + text[1:]
