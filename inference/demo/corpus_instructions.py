"""System messages as the web sends them, and what custom instructions do to an answer."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from .corpus_exchange import Exchange, load_toml
from .corpus_references import FACETS, draw_value

FORMS: dict[str, list[str]] = load_toml("forms")["instructions"]

BASE = "You are a helpful assistant in chatapp."
ABOUT = "About the person you are talking to: "
HOW = "How they would like you to answer: "
SENTENCE_END = re.compile(r"(?<=[a-z0-9)`][.!?])\s+(?=[A-Z`])")

Style = Callable[[str], str]
"""Turns a plain answer into the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The frame of one conversation: the system message (or none), what it tells of the person, the style."""

    content: str | None
    facts: dict[str, str] = field(default_factory=dict)
    style: Style = str


def is_plain(answer: str) -> bool:
    """Prose in one block: code, tables and lists keep their form under every instruction."""
    return "```" not in answer and "\n" not in answer


def first_sentence(answer: str) -> str:
    return SENTENCE_END.split(answer)[0] if is_plain(answer) else answer


def _capitals(answer: str) -> str:
    return answer if "```" in answer else answer.upper()


WEIGHTS = {
    "capitals": 20,
    "lowercase": 9,
    "short": 18,
    "question": 18,
    "named": 13,
    "starting": 9,
    "smiling": 5,
    "neutral": 8,
}


def draw_style(rng: random.Random, name: str | None, kind: str = "") -> tuple[str, Style]:
    """An instruction (of ``kind``, else any) and what it does; ``name`` is the person's, when it was told."""
    kind = kind or rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    if kind == "named":
        return _named(rng, name or draw_value(rng, "name"))
    if kind == "starting":
        start = rng.choice(FORMS["starts"])
        return rng.choice(FORMS["starting"]).format(v=start), lambda answer: f"{start}, {answer}"
    if kind == "question":
        closing = FORMS["closing_questions"][0] if rng.random() < 0.6 else rng.choice(FORMS["closing_questions"])
        return rng.choice(FORMS["question"]), lambda answer: _append(answer, closing)
    forms, style = _fixed_styles()[kind]
    return rng.choice(forms), style


def _fixed_styles() -> dict[str, tuple[Sequence[str], Style]]:
    return {
        "capitals": (FORMS["capitals"], _capitals),
        "lowercase": (FORMS["lowercase"], lambda answer: answer if "```" in answer else answer.lower()),
        "short": (FORMS["short"], first_sentence),
        "smiling": (FORMS["smiling"], lambda answer: _append(answer, "🙂")),
        "neutral": (FORMS["neutral"], str),
    }


def _named(rng: random.Random, name: str) -> tuple[str, Style]:
    return rng.choice(FORMS["named"]).format(v=name), lambda answer: f"{name}, {answer}"


def _append(answer: str, ending: str) -> str:
    if answer.endswith("?"):
        return answer
    return f"{answer} {ending}" if is_plain(answer) else f"{answer}\n\n{ending}"


def in_passing(rng: random.Random, turn: Exchange) -> Exchange:
    """The instruction inside the message itself: "what is the capital of France? Answer in capitals"."""
    kind = rng.choice(("capitals", "capitals", "lowercase", "short", "question"))
    how, style = draw_style(rng, None, kind)
    question = f"{turn.question}{'' if turn.question[-1] in '?.!' else '.'} {how}"
    return replace(turn, question=question, answer=style(turn.answer))


def _draw_facts(rng: random.Random) -> dict[str, str]:
    kinds = rng.sample(list(FACETS), rng.choice((1, 1, 2, 3)))
    if "name" not in kinds and rng.random() < 0.6:
        kinds.insert(0, "name")
    return {kind: draw_value(rng, kind) for kind in kinds}


def _describe(rng: random.Random, facts: dict[str, str]) -> str:
    """The person's own words about themselves, in order, as they would type them into the settings."""
    sentences = [FACETS[kind].about.format(v=value) for kind, value in facts.items()]
    if list(facts)[:2] == ["name", "job"] and rng.random() < 0.5:
        sentences[:2] = [f"I am {facts['name']}, {facts['job']}."]
    if rng.random() < 0.3 and "name" in facts:
        sentences[0] = sentences[0].replace("My name is", "I am")
    return " ".join(sentences)


def draw_setting(rng: random.Random) -> Setting:
    """15 % without system message, 55 % the plain one, the rest with custom instructions."""
    draw = rng.random()
    if draw < 0.15:
        return Setting(None)
    if draw < 0.64:
        return Setting(BASE)
    facts = _draw_facts(rng) if draw < 0.82 else {}
    styled = draw >= 0.76
    how, style = draw_style(rng, facts.get("name")) if styled else ("", str)
    parts = [BASE, ABOUT + _describe(rng, facts) if facts else "", HOW + how if styled else ""]
    return Setting("\n\n".join(part for part in parts if part), facts, style)
