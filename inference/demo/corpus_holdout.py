"""The split, made before any text is drawn: which questions the model never trains on.

A question is held out when the hash of its clean form falls into a fixed share, or when it stands in the
hand-written list ``data/heldout.toml``. Generators draw first and ask here afterwards, so a held-out pair of
numbers, phrase or paraphrase is missing from training in every spelling of it.
"""

import hashlib
import json
import re
from functools import cache

from .corpus_exchange import DATA, Exchange, Scene, load_toml

DRAWN = DATA / "heldout_drawn.json"
SHARE = 16  # of 256 hash values: 6.25 % of the questions


def normalise(text: str) -> str:
    """Lower case, words and signs of arithmetic only, single spaces."""
    return " ".join(re.findall(r"[^\W_]+|[-+*/×÷−]", text.lower().replace("'", "")))


@cache
def written_questions() -> frozenset[str]:
    """Normalised questions of the hand-written list.

    Those that stand in a conversation or under an instruction are held out as the whole they are, so their
    last message alone may be trained on.
    """
    alone = (item for item in load_toml("heldout")["items"] if len(item["messages"]) == 1 and "system" not in item)
    return frozenset(normalise(item["messages"][0]) for item in alone)


@cache
def drawn_questions() -> frozenset[str]:
    """Normalised questions of the drawn list, in the spelling they are asked in."""
    drawn = json.loads(DRAWN.read_text("utf-8"))
    return frozenset(normalise(item["messages"][0]) for item in drawn if len(item["messages"]) == 1)


def is_held_out(key: str) -> bool:
    clean = normalise(key)
    return hashlib.sha256(clean.encode()).digest()[0] < SHARE or clean in written_questions()


def held(exchange: Exchange) -> bool:
    """By its clean form or by the form it was typed in."""
    return is_held_out(exchange.key) or is_held_out(exchange.question)


def belongs(scene: Scene, *, held_out: bool) -> bool:
    """Whether the scene falls on the asked side: held out as soon as one of its exchanges is.

    Two clean questions may be typed alike: what the drawn list asks is kept from training in that spelling.
    """
    if any(held(exchange) for exchange in scene):
        return held_out
    return not held_out and not any(normalise(exchange.question) in drawn_questions() for exchange in scene)
