"""Longer answers that are put together anew each time: stories, haiku, counting, tables of multiplication."""

import random
from collections.abc import Callable

from .corpus_exchange import Exchange, Scene, load_toml, read_lines, upper_first
from .corpus_noise import vary

FORMS: dict[str, list[str]] = load_toml("forms")["writing"]

CATEGORY = "writing"
STORY_SHORT = ("openings", "findings", "endings", "morals")
STORY = (
    "openings",
    "characters",
    "findings",
    "wonders",
    "meetings",
    "talks",
    "arrivals",
    "owners",
    "endings",
    "morals",
)
STORY_LONG = (
    ("openings", "characters", "findings", "wonders", "decisions"),
    ("meetings", "talks", "troubles", "arrivals"),
    ("owners", "thanks", "endings", "morals"),
)
LENGTHS = {
    "short": ("short story", "very short story", "little story", "tiny story", "brief story"),
    "plain": ("story", "tale", "bedtime story", "fairy tale", "nice story"),
    "long": ("long story", "longer story", "very long story", "long tale", "story of three paragraphs"),
}


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _cast(rng: random.Random, hero: str) -> dict[str, str]:
    """What the slots of one story stand for; every story draws its own."""
    parts = load_toml("stories")
    friend = rng.choice([friend for friend in parts["friends"] if friend.split()[-1] != hero.rsplit(maxsplit=1)[-1]])
    named = {"a_hero": _article(hero), "name": rng.choice(read_lines("names")[0].split()[:60])}
    placed = {"place": rng.choice(parts["places"]), "thing": rng.choice(parts["things"])}
    return named | placed | {"friend": friend, "the_friend": f"the {friend.split()[-1]}"}


def _paragraph(rng: random.Random, slots: tuple[str, ...], cast: dict[str, str]) -> str:
    parts = load_toml("stories")
    return " ".join(upper_first(rng.choice(parts[slot]).format(**cast)) for slot in slots)


def _tell(rng: random.Random, length: str, hero: str) -> str:
    cast = _cast(rng, hero)
    if length == "long":
        return "\n\n".join(_paragraph(rng, slots, cast) for slots in STORY_LONG)
    return _paragraph(rng, STORY_SHORT if length == "short" else STORY, cast)


def _hero(rng: random.Random) -> str:
    heroes = [hero.strip() for hero in load_toml("phrases")["heroes"].split(";")]
    words = load_toml("phrases")["words"].split()
    hero = rng.choice(heroes) if rng.random() < 0.85 else rng.choice(words)
    return (
        f"{rng.choice(('little', 'brave', 'clever', 'lonely', 'old', 'tiny', 'lazy', 'happy'))} {hero}"
        if rng.random() < 0.15
        else hero
    )


def story(rng: random.Random) -> Scene:
    length = rng.choices(("short", "plain", "long"), (3, 5, 4))[0]
    kind, hero = rng.choice(LENGTHS[length]), _hero(rng)
    asked = rng.random() < 0.8
    question = rng.choice(FORMS["story"] if asked else FORMS["any_story"]).format(k=kind, h=_article(hero))
    title = f"A story about {_article(hero)}" if asked else "A story"
    accept = (hero,) if asked else ("lived",)
    return [Exchange(vary(rng, question), _tell(rng, length, hero), title, CATEGORY, question, accept=accept)]


def haiku(rng: random.Random) -> Scene:
    topic, lines = rng.choice(read_lines("haiku")).split(": ", 1)
    asked = rng.random() < 0.8
    question = rng.choice(FORMS["haiku"]).format(x=topic) if asked else rng.choice(FORMS["any_haiku"])
    title = f"Haiku about {topic}" if asked else "A haiku"
    answer = lines.replace(" / ", "\n")
    return [Exchange(vary(rng, question), answer, title, CATEGORY, question, accept=(answer,) if asked else ("\n",))]


def counting(rng: random.Random) -> Scene:
    start = 1 if rng.random() < 0.7 else rng.randrange(2, 60)
    stop = start + rng.choice((rng.randrange(4, 21), rng.randrange(9, 51), rng.randrange(9, 30)))
    question = rng.choice(FORMS["count"]).format(a=start, b=stop)
    answer = ", ".join(str(number) for number in range(start, stop + 1))
    return [Exchange(vary(rng, question), answer, f"Counting to {stop}", CATEGORY, f"count {start} {stop}")]


def countdown(rng: random.Random) -> Scene:
    start = rng.randrange(3, 31)
    question = rng.choice(FORMS["down"]).format(a=start)
    answer = ", ".join(str(number) for number in range(start, 0, -1))
    return [Exchange(vary(rng, question), answer, f"Counting down from {start}", CATEGORY, f"countdown {start}")]


def times_table(rng: random.Random) -> Scene:
    n = rng.randrange(2, 13)
    question = rng.choice(FORMS["table"]).format(n=n)
    answer = "\n".join(f"- {n} × {k} = {n * k}" for k in range(1, 11))
    return [Exchange(vary(rng, question), answer, f"Times table of {n}", CATEGORY, question)]


KINDS: dict[Callable[[random.Random], Scene], int] = {
    story: 52,
    haiku: 22,
    counting: 14,
    countdown: 6,
    times_table: 6,
}


def writing(rng: random.Random) -> Scene:
    return rng.choices(list(KINDS), list(KINDS.values()))[0](rng)
