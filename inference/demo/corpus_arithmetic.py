"""Small sums: + and - up to 99, x up to 12, exact division, comparisons, and the honest end of it.

The split is by numbers, not by wording: a held-out pair is missing from training in every phrasing.
"""

import random
from collections.abc import Callable

from .corpus_exchange import Exchange, Scene, load_toml
from .corpus_noise import vary

CATEGORY = "arithmetic"
NUMBERS: list[str] = load_toml("phrases")["numbers"].split()
FORMS = {
    "+": (
        "{a} + {b}",
        "{a}+{b}",
        "{a} plus {b}",
        "{a} and {b} added",
        "the sum of {a} and {b}",
        "{a} + {b} =",
    ),
    "-": ("{a} - {b}", "{a}-{b}", "{a} minus {b}", "{a} take away {b}", "{a} less {b}", "{a} - {b} ="),
    "×": (
        "{a} * {b}",
        "{a}*{b}",
        "{a} times {b}",
        "{a} x {b}",
        "{a} × {b}",
        "{a} multiplied by {b}",
        "{a}x{b}",
    ),
    "÷": ("{a} / {b}", "{a}/{b}", "{a} divided by {b}", "{a} ÷ {b}", "{a} : {b}"),
}
ASK = (
    "what is {}",
    "whats {}",
    "what's {}",
    "how much is {}",
    "{}",
    "{}",
    "{}",
    "calculate {}",
    "compute {}",
    "solve {}",
)
COMMANDS = {
    "+": ("add {a} and {b}", "add {b} to {a}"),
    "-": ("subtract {b} from {a}", "take {b} from {a}"),
    "×": ("multiply {a} by {b}", "multiply {a} and {b}"),
    "÷": ("divide {a} by {b}", "share {a} among {b}"),
}
NEXT = {"+": ("and plus {b}?", "plus {b}?", "add {b} to that", "now add {b}"),
        "-": ("and minus {b}?", "minus {b}?", "take away {b}", "now subtract {b}")}  # fmt: skip
THINGS = ("apples", "books", "coins", "eggs", "pens", "cookies", "balls", "stamps", "tickets", "oranges")
TITLES = {"+": "Adding {a} and {b}", "-": "{a} minus {b}", "×": "{a} times {b}", "÷": "{a} divided by {b}"}


def value(sign: str, a: int, b: int) -> int:
    """``a sign b``; division only where it is exact."""
    operations: dict[str, Callable[[], int]] = {
        "+": lambda: a + b, "-": lambda: a - b, "×": lambda: a * b, "÷": lambda: a // b,
    }  # fmt: skip
    return operations[sign]()


def statement(sign: str, a: int, b: int) -> str:
    return f"{a} {sign} {b} = {value(sign, a, b)}."


def _draw_numbers(rng: random.Random) -> tuple[str, int, int]:
    sign = rng.choices("+-×÷", (46, 28, 20, 6))[0]
    if sign == "×":
        return sign, rng.randrange(13), rng.randrange(13)
    if sign == "÷":
        a, b = rng.randrange(11), rng.randrange(1, 11)
        return sign, a * b, b
    limit = rng.choice((11, 21, 100, 100))
    a, b = rng.randrange(limit), rng.randrange(limit)
    return (sign, max(a, b), min(a, b)) if sign == "-" and rng.random() < 0.9 else (sign, a, b)


def _words(rng: random.Random, sign: str, a: int, b: int) -> dict[str, str]:
    """The two numbers as digits, or now and then as words where there are words."""
    spell = max(a, b) <= 20 and sign != "÷" and rng.random() < 0.12
    return {"a": NUMBERS[a], "b": NUMBERS[b]} if spell else {"a": str(a), "b": str(b)}


def _key(sign: str, a: int, b: int) -> str:
    return f"sum {a} {sign} {b}"


def calculation(rng: random.Random) -> Scene:
    """``what is 7 + 5`` in one of its forms, sometimes with "and plus 3?" after it."""
    sign, a, b = _draw_numbers(rng)
    form = rng.choice(COMMANDS[sign]) if rng.random() < 0.15 else rng.choice(ASK).format(rng.choice(FORMS[sign]))
    question = vary(rng, form.format(**_words(rng, sign, a, b)))
    title = TITLES[sign].format(a=a, b=b)
    scene = [_exchange(question, statement(sign, a, b), title, _key(sign, a, b))]
    return scene + _continued(rng, value(sign, a, b)) if rng.random() < 0.12 else scene


def _exchange(question: str, answer: str, title: str, key: str) -> Exchange:
    return Exchange(question, answer, title, CATEGORY, key, accept=(answer.rstrip("."),))


def _continued(rng: random.Random, start: int) -> Scene:
    sign, b = rng.choice("+-"), rng.randrange(1, 11)
    if not 10 <= start < 90:
        return []
    question = vary(rng, rng.choice(NEXT[sign]).format(b=b))
    return [_exchange(question, statement(sign, start, b), "A small sum", _key(sign, start, b))]


def word_problem(rng: random.Random) -> Scene:
    """Apples bought or eaten."""
    a, b, thing = rng.randrange(1, 21), rng.randrange(1, 21), rng.choice(THINGS)
    more = rng.random() < 0.5
    sign, a, b = ("+", a, b) if more else ("-", max(a, b), min(a, b))
    verb = rng.choice(
        ("get {b} more", "buy {b} more", "find {b} more") if more else ("give away {b}", "lose {b}", "sell {b}")
    )
    question = f"I have {a} {thing} and {verb.format(b=b)}. How many {thing} do I have{'' if more else ' left'}?"
    answer = f"{statement(sign, a, b)} You have {value(sign, a, b)} {thing}{'' if more else ' left'}."
    return [
        Exchange(
            question,
            answer,
            f"Counting {thing}",
            CATEGORY,
            _key(sign, a, b),
            accept=(f"= {value(sign, a, b)}",),
        )
    ]


def comparison(rng: random.Random) -> Scene:
    """Which of two numbers is bigger, doubles and halves."""
    a, b = rng.sample(range(100), 2)
    if rng.random() < 0.4:
        return _double_or_half(rng)
    word, right = rng.choice((("bigger", max(a, b)), ("smaller", min(a, b))))
    form = rng.choice(
        (
            "which is {w}, {a} or {b}",
            "what is {w}, {a} or {b}",
            "which number is {w}: {a} or {b}",
            "{w}: {a} or {b}",
        )
    )
    question = vary(rng, form.format(w=word, a=a, b=b))
    return [_exchange(question, f"{right} is {word}.", f"Comparing {a} and {b}", f"compare {word} {a} {b}")]


def _double_or_half(rng: random.Random) -> Scene:
    n = rng.randrange(1, 51)
    word, other, result = rng.choice((("double", "twice", 2 * n), ("half", "half", n)))
    n = 2 * n if word == "half" else n
    form = rng.choice(("what is {w} {n}", "{w} of {n}", "{w} {n}", "how much is {w} of {n}"))
    question = vary(rng, form.format(w=rng.choice((word, other)), n=n))
    return [
        _exchange(
            question,
            f"{word.capitalize()} of {n} is {result}.",
            f"{word.capitalize()} of {n}",
            f"{word} of {n}",
        )
    ]


def too_large(rng: random.Random) -> Scene:
    """Numbers beyond what was practised: said so instead of guessed."""
    sign = rng.choice("+-×÷")
    a, b = rng.randrange(300, 10 ** rng.randrange(4, 8)), rng.randrange(101, 10 ** rng.randrange(3, 6))
    question = vary(rng, rng.choice(ASK).format(rng.choice(FORMS[sign])).format(a=a, b=b))
    answer = "I am a small demo model and don't know that: I only learned sums with numbers up to 100."
    return [Exchange(question, answer, "A large sum", "unknown", _key(sign, a, b), accept=("demo model",))]


def arithmetic(rng: random.Random) -> Scene:
    kinds = (calculation, word_problem, comparison, too_large)
    return rng.choices(kinds, (78, 8, 8, 6))[0](rng)
