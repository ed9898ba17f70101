"""Short rewriting tasks: the answer is a function of the text that was given."""

import random
from collections.abc import Callable
from functools import cache

from inference.demo.corpus_exchange import Exchange, Scene, load_toml
from inference.demo.corpus_noise import slip

CATEGORY = "rewriting"
ASK_UPPER = ("write {q} in capitals", "write {q} in uppercase", "uppercase: {t}", "make this uppercase: {t}", "{q} in capital letters",
             "convert to uppercase: {t}", "put {q} in capitals", "capitalise all letters: {t}", "in capitals: {t}", "turn {q} into capital letters")  # fmt: skip
ASK_LOWER = ("write {q} in lowercase", "lowercase: {t}", "make this lowercase: {t}", "convert to lowercase: {t}", "{q} in small letters")  # fmt: skip
ASK_REPEAT = (
    "repeat after me: {t}",
    "say {q}",
    "repeat: {t}",
    "repeat {q}",
    "say: {t}",
    "please say {q}",
    "write {q}",
    "echo {t}",
)
ASK_REVERSE = ("reverse this list: {t}", "reverse the list {t}", "reverse: {t}", "put this list in reverse order: {t}", "turn around this list: {t}")  # fmt: skip
ASK_SORT = (
    "sort this list: {t}",
    "sort alphabetically: {t}",
    "put in alphabetical order: {t}",
    "sort these words: {t}",
)
ASK_BULLETS = ("make a list of {t}", "make a bullet list: {t}", "turn this into a list: {t}", "as a bullet list: {t}", "write as a list: {t}", "list {t} as bullet points")  # fmt: skip
ASK_NUMBERED = ("make a numbered list: {t}", "number these: {t}", "as a numbered list: {t}")
ASK_SHORTEN = (
    "shorten this sentence: {t}",
    "make this shorter: {t}",
    "shorten: {t}",
    "shorten {q}",
    "say this in fewer words: {t}",
)
ASK_POLITE = ("make this polite: {t}", "make it polite: {t}", "say this politely: {t}", "make {q} more polite", "how do i say {q} politely", "polite version of: {t}")  # fmt: skip
ASK_TYPO = ("fix the typo: {t}", "correct this: {t}", "fix the spelling: {t}", "correct the spelling: {t}", "fix this sentence: {t}", "fix typos: {t}")  # fmt: skip
ASK_COUNT = ("how many words are in this sentence: {t}", "count the words: {t}", "how many words: {t}", "count the words in {q}", "how many words are in {q}")  # fmt: skip
ASK_FIRST = ("what is the first word of {q}", "first word of: {t}", "what is the first word in {q}")
ASK_LAST = ("what is the last word of {q}", "last word of: {t}", "what is the last word in {q}")
ASK_SPELL = ("spell {t}", "how do you spell {t}", "spell the word {t}", "can you spell {t}")
ASK_SWAP = ('replace "{a}" with "{b}": {t}', "replace {a} with {b} in: {t}", "change {a} to {b}: {t}")


@cache
def _stock(name: str) -> list[str]:
    return [
        item.strip()
        for item in load_toml("phrases")[name].split(";" if ";" in load_toml("phrases")[name] else None)
    ]


def words(rng: random.Random, low: int, high: int) -> list[str]:
    """Distinct words of the stock."""
    return rng.sample(_stock("words"), rng.randint(low, high))


def sentence(rng: random.Random) -> str:
    sentences: list[str] = load_toml("phrases")["sentences"]
    return rng.choice(sentences)


def _ask(
    rng: random.Random, forms: tuple[str, ...], text: str, answer: str, title: str, **more: str
) -> Scene:
    question = rng.choice(forms).format(t=text, q=f'"{text}"' if rng.random() < 0.75 else text, **more)
    question = question[:1].upper() + question[1:] if rng.random() < 0.5 else question
    return [Exchange(question, answer, title, CATEGORY, f"{title} {text}", exact=True)]


def _phrase(rng: random.Random) -> str:
    return sentence(rng) if rng.random() < 0.3 else " ".join(words(rng, 1, 4))


def uppercase(rng: random.Random) -> Scene:
    text = _phrase(rng)
    return _ask(rng, ASK_UPPER, text, text.upper(), "Text in capitals")


def lowercase(rng: random.Random) -> Scene:
    text = _phrase(rng)
    text = text.upper() if rng.random() < 0.6 else text.title()
    return _ask(rng, ASK_LOWER, text, text.lower(), "Text in lowercase")


def repeat(rng: random.Random) -> Scene:
    text = _phrase(rng)
    return _ask(rng, ASK_REPEAT, text, text, "Repeating a text")


def reverse(rng: random.Random) -> Scene:
    items = words(rng, 3, 5)
    return _ask(rng, ASK_REVERSE, ", ".join(items), ", ".join(reversed(items)), "Reversing a list")


def sort(rng: random.Random) -> Scene:
    items = words(rng, 3, 4)
    return _ask(rng, ASK_SORT, ", ".join(items), ", ".join(sorted(items)), "Sorting a list")


def bullets(rng: random.Random) -> Scene:
    items = words(rng, 2, 6)
    joined = ", ".join(items[:-1]) + rng.choice((", ", " and ")) + items[-1]
    if rng.random() < 0.25:
        lines = [f"{place}. {item}" for place, item in enumerate(items, 1)]
        return _ask(rng, ASK_NUMBERED, joined, "\n".join(lines), "A numbered list")
    return _ask(rng, ASK_BULLETS, joined, "\n".join(f"- {item}" for item in items), "A list")


def _padded(rng: random.Random, short: str) -> str:
    """The sentence with words that say nothing: a tail and perhaps an opening."""
    tail = rng.choice(load_toml("phrases")["tails"])
    start = rng.choice(("", "", "Well, ", "You know, ", "I think that "))
    body = short[0].lower() + short[1:-1] if start and not short.startswith("I ") else short[:-1]
    return f"{start}{body}, {tail}."


def shorten(rng: random.Random) -> Scene:
    short = sentence(rng)
    return _ask(rng, ASK_SHORTEN, _padded(rng, short), short, "Shortening a sentence")


def polite(rng: random.Random) -> Scene:
    command = f"{rng.choice(_stock('verbs'))} {rng.choice(_stock('objects'))}"
    return _ask(rng, ASK_POLITE, command, f"Could you please {command}?", "A polite request")


def typo(rng: random.Random) -> Scene:
    right = sentence(rng)
    parts = right.split(" ")
    long = [place for place, word in enumerate(parts) if len(word) > 3 and word.isalpha()]
    for place in rng.sample(long, min(len(long), rng.choice((1, 1, 2)))):
        parts[place] = slip(rng, parts[place])
    return _ask(rng, ASK_TYPO, " ".join(parts), right, "Fixing a typo")


def count_words(rng: random.Random) -> Scene:
    text = sentence(rng) if rng.random() < 0.6 else " ".join(words(rng, 2, 7))
    number = len(text.split())
    return _ask(rng, ASK_COUNT, text, f"There are {number} words.", "Counting words")


def end_word(rng: random.Random) -> Scene:
    items = words(rng, 3, 6)
    forms, answer, title = rng.choice(
        ((ASK_FIRST, items[0], "The first word"), (ASK_LAST, items[-1], "The last word"))
    )
    return _ask(rng, forms, " ".join(items), answer, title)


def spell(rng: random.Random) -> Scene:
    word = words(rng, 1, 1)[0]
    return _ask(rng, ASK_SPELL, word, "-".join(word.upper()), f"Spelling of {word}")


def swap(rng: random.Random) -> Scene:
    text = sentence(rng)
    old = rng.choice([word for word in text[:-1].split() if len(word) > 3])
    new = words(rng, 1, 1)[0]
    return _ask(rng, ASK_SWAP, text, text.replace(old, new), "Replacing a word", a=old, b=new)


KINDS: dict[Callable[[random.Random], Scene], int] = {
    uppercase: 20, lowercase: 8, repeat: 8, reverse: 11, sort: 4, bullets: 9, shorten: 9,
    polite: 8, typo: 9, count_words: 7, end_word: 4, spell: 5, swap: 4,
}  # fmt: skip


def rewriting(rng: random.Random) -> Scene:
    return rng.choices(list(KINDS), list(KINDS.values()))[0](rng)
