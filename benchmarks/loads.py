"""What ``benchmarks.engine`` asks of every engine: prompts of token ids, when they come, how long the answers are.

A case is asked in waves, one after the other; inside a wave every ask has its own time. Everything is
drawn from a seed, so that all engines get the same asks in the same round.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.figures import Figures, Wave, percentile

WARM = -1  # the round that is not measured
FIRST_ORDINARY = 16  # ids below it are often special tokens
FEWEST_ANSWERS = 4  # of a round; a single short answer says little


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt. ``due`` in seconds after the wave's start.

    With ``follows``, the prompt goes on from that ask's prompt and answer, and is due when the answer ends.
    """

    name: str
    prompt: list[int]
    max_tokens: int
    due: float = 0.0
    tenant: str = ""
    follows: str = ""


def nothing_more(rounds: Sequence[Sequence[Wave]]) -> Figures:
    return {}


@dataclass(frozen=True, slots=True)
class Case:
    """``waves(round)`` are the asks of a round; ``more`` is what its answers say besides the usual figures.

    longest: most tokens of a prompt and its answer. prefix: tokens that all prompts begin with.
    even: all asks of a wave begin at once, with prompts of one length.
    """

    label: str
    streams: int
    longest: int
    waves: Callable[[int], list[list[Ask]]]
    prefix: list[int] = field(default_factory=list)
    even: bool = False
    more: Callable[[Sequence[Sequence[Wave]]], Figures] = nothing_more


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the shared prefix, of what follows it, and of the answer; ids are below ``vocabulary``."""

    prefix: int
    prompt: int
    output: int
    vocabulary: int

    @property
    def total(self) -> int:
        return self.prefix + self.prompt + self.output

    def shared(self) -> list[int]:
        return self.draw(random.Random(7), self.prefix)

    def draw(self, rng: random.Random, count: int) -> list[int]:
        return [rng.randrange(FIRST_ORDINARY, self.vocabulary) for _ in range(count)]


def streams(lengths: Lengths, count: int) -> Case:
    """``count`` answers at once behind a shared prefix; several waves where one would be over too soon."""
    prefix = lengths.shared()

    def wave(rng: random.Random) -> list[Ask]:
        fresh = [lengths.draw(rng, lengths.prompt) for _ in range(count)]
        return [Ask(str(place), prefix + own, lengths.output) for place, own in enumerate(fresh)]

    def waves(number: int) -> list[list[Ask]]:
        rng = random.Random(f"streams {count} {number}")
        return [wave(rng) for _ in range(max(1, FEWEST_ANSWERS // count))]

    return Case(f"{count} streams", count, lengths.total, waves, prefix, even=True)


def decode(lengths: Lengths, count: int) -> Case:
    """The same prompts twice: first for one token each (the prefill rate), then for whole answers."""

    def waves(number: int) -> list[list[Ask]]:
        rng = random.Random(f"decode {count} {number}")
        prompts = [lengths.draw(rng, lengths.prefix + lengths.prompt) for _ in range(count)]
        first = [Ask(str(place), prompt, 1) for place, prompt in enumerate(prompts)]
        return [first, [Ask(str(place), prompt, lengths.output) for place, prompt in enumerate(prompts)]]

    def more(rounds: Sequence[Sequence[Wave]]) -> Figures:
        return {"prefill_tokens_per_second": round(percentile([prefill_rate(first) for first, _ in rounds], 0.5), 1)}

    return Case(f"{count} streams", count, lengths.total, waves, even=True, more=more)


def prefill_rate(wave: Wave) -> float:
    """Prompt tokens per second until every answer of the wave had its first token."""
    return sum(answer.prompt_tokens for answer in wave.values()) / max(answer.at[0] for answer in wave.values())
