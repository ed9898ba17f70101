"""The corpus of the demo model: an endless, seeded stream of conversations.

The same seed gives the same conversations byte for byte (``digest``). Shapes are those the web sends: an
optional system message with custom instructions, alternating turns, and title jobs.
"""

import hashlib
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from . import corpus_references as references
from .corpus_arithmetic import arithmetic
from .corpus_exchange import Exchange, Generator, Scene
from .corpus_facts import cards, relation
from .corpus_holdout import belongs
from .corpus_instructions import BASE, Setting, draw_setting, in_passing
from .corpus_rewriting import rewriting
from .corpus_unknown import unknown
from .corpus_writing import writing

TITLE_PROMPT = "Write a short title for this conversation. Answer with the title only."
TITLE_LIMIT = 300  # characters of the first message a title job is given
TITLE_SHARE = 0.07
LONGEST = 2700  # characters of a conversation, about what fits into 1024 tokens
SCENES: dict[Generator, int] = {
    relation: 22,
    cards("facts", "facts"): 11,
    cards("smalltalk", "small_talk"): 12,
    cards("product", "product"): 13,
    cards("writing", "writing"): 6,
    arithmetic: 22,
    rewriting: 14,
    writing: 6,
    unknown: 15,
}

Message = dict[str, str]
"""``role`` (system, user, assistant) and ``content``, as chat templates take them."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages with their last one from the assistant; ``exchanges`` says what was meant by each turn."""

    messages: tuple[Message, ...]
    exchanges: tuple[Exchange, ...]


def conversations(seed: int, *, held_out: bool = False) -> Iterator[Conversation]:
    """Conversations without end, on one side of the split, each drawn from a seed and its number."""
    for number in itertools.count():
        rng = random.Random(f"{seed}/{number}")
        yield title_job(rng, held_out) if rng.random() < TITLE_SHARE else conversation(rng, held_out)


def digest(seed: int, count: int) -> str:
    """SHA-256 of the first ``count`` conversations: equal seeds, equal bytes."""
    running = hashlib.sha256()
    for item in itertools.islice(conversations(seed), count):
        running.update(json.dumps(item.messages, ensure_ascii=False).encode() + b"\n")
    return running.hexdigest()


def draw_scene(rng: random.Random, held_out: bool) -> Scene:
    """A scene from the asked side of the split."""
    generator = rng.choices(list(SCENES), list(SCENES.values()))[0]
    while not belongs(scene := generator(rng), held_out=held_out):
        pass
    return scene


def title_job(rng: random.Random, held_out: bool) -> Conversation:
    exchange = draw_scene(rng, held_out)[0]
    message = exchange.question
    if rng.random() < 0.1:
        message = f"{message} {draw_scene(rng, held_out)[0].question}"
    job = replace(
        exchange,
        question=message[:TITLE_LIMIT],
        answer=exchange.title,
        category="titles",
        accept=(),
        exact=False,
    )
    return Conversation(render(Setting(TITLE_PROMPT), [job]), (job,))


def conversation(rng: random.Random, held_out: bool) -> Conversation:
    setting = draw_setting(rng)
    told = dict(setting.facts)
    history: list[Exchange] = []
    for _ in range(_length(rng)):
        scene = _next_scene(rng, history, told, held_out)
        answered = [replace(turn, answer=_style(setting, turn)) for turn in scene]
        if history and _characters(history + answered) > LONGEST:
            break
        history += answered
    return Conversation(render(setting, history), tuple(history))


def _length(rng: random.Random) -> int:
    """Scenes of a conversation: mostly one or a few, sometimes as many as the context holds."""
    return rng.choices((1, 2, 3, rng.randint(4, 7), rng.randint(8, 40)), (50, 19, 14, 14, 3))[0]


def _next_scene(rng: random.Random, history: list[Exchange], told: dict[str, str], held_out: bool) -> Scene:
    draw = rng.random()
    if draw < (0.10 if not told else 0.22):
        return _personal(rng, told, held_out)
    if draw < (0.32 if history else 0.12):
        scene = references.look_back(rng, history)
        return scene or draw_scene(rng, held_out)
    scene = draw_scene(rng, held_out)
    return [in_passing(rng, scene[0])] if draw > 0.975 else scene


def _personal(rng: random.Random, told: dict[str, str], held_out: bool) -> Scene:
    """Something about the person: told now, or asked for (known or never told)."""
    known = list(told)
    kind = rng.choice(known) if known and rng.random() < 0.7 else rng.choice(list(references.FACETS))
    if kind in told or rng.random() < 0.25:
        return [references.ask(rng, kind, told.get(kind))]
    value = references.draw_value(rng, kind)
    while not belongs(scene := [references.tell(rng, kind, value)], held_out=held_out):
        value = references.draw_value(rng, kind)
    told[kind] = value
    return scene


def _style(setting: Setting, turn: Exchange) -> str:
    return setting.style(turn.answer)


def _characters(history: list[Exchange]) -> int:
    return sum(len(turn.question) + len(turn.answer) for turn in history)


def render(setting: Setting, turns: list[Exchange]) -> tuple[Message, ...]:
    """The messages a model server receives, with the answers in place."""
    system = [] if setting.content is None else [{"role": "system", "content": setting.content}]
    pairs = ((("user", turn.question), ("assistant", turn.answer)) for turn in turns)
    return tuple(system + [{"role": role, "content": text} for pair in pairs for role, text in pair])


__all__ = ["BASE", "TITLE_PROMPT", "Conversation", "conversations", "digest"]
