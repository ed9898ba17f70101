"""An answer as its tokens spell it, split where it enters into what the model thinks and what it says.

Models that think do so first, between marks of their family. A mark is one only there: an answer that has begun may
speak of ``<think>`` as it likes. Some templates have begun the thought already, so that only its end is spelled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """How a thought begins and ends. ``tokens``: those of the marks that tokenizers may have as special tokens, which
    are left out of a text unless they are asked for (``EngineConfig.visible_tokens``).
    """

    opens: str
    closes: str
    tokens: tuple[str, ...]


HARMONY = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>")

FAMILIES = (
    Family("<think>", "</think>", ("<think>", "</think>")),  # DeepSeek, Qwen, GLM, MiniMax, Hunyuan, …
    Family("[THINK]", "[/THINK]", ("[THINK]", "[/THINK]")),  # Mistral
    Family("<seed:think>", "</seed:think>", ("<seed:think>", "</seed:think>")),  # Seed-OSS
    Family("<|channel>thought", "<channel|>", ("<|channel>", "<channel|>")),  # Gemma 4
    Family("<|channel|>analysis<|message|>", "<|end|>", HARMONY),  # gpt-oss
    Family("<|START_THINKING|>", "<|END_THINKING|>", ("<|START_THINKING|>", "<|END_THINKING|>")),  # Command A
    Family("<|begin_of_thought|>", "<|end_of_thought|>", ("<|begin_of_thought|>", "<|end_of_thought|>")),
    Family("◁think▷", "◁/think▷", ("◁think▷", "◁/think▷")),  # Kimi
)
MARKS = tuple(family.tokens for family in FAMILIES)
# What begins the answer proper, or another message of the same answer: neither thought nor text.
TURNS = ("<|start|>assistant", "<|channel|>final<|message|>", "<|START_RESPONSE|>", "<|begin_of_solution|>")
# What may stand where no word of the answer has come yet, and what ends the thought that it begins, if it does.
HEADS = {family.opens: family.closes for family in FAMILIES} | dict.fromkeys(
    (*(family.closes for family in FAMILIES), *TURNS), ""
)
LONE_ENDS = {family: re.compile(rf"^\s*{re.escape(family.closes)}\s*$", re.MULTILINE) for family in FAMILIES}


class Splitter:
    """One answer's text, in pieces however they are cut, as pairs: what is new of the thought, and of the answer.

    ``opened``: the prompt's end has begun a thought of this family. ``begun``: the answer has begun before, and what
    comes is more of it.
    """

    def __init__(self, opened: Family | None = None, *, begun: bool = False) -> None:
        self._opened, self.is_answer = opened, begun
        self._closes = ""  # what ends the thought under way
        self._held = ""  # what may be the beginning of a mark, or the space around one
        self.has_thought = False

    def feed(self, text: str) -> tuple[str, str]:
        if self.is_answer:
            return "", text
        self._held += text
        thoughts: list[str] = []
        while self._think(thoughts) if self._closes else self._begin():
            pass
        return "".join(thoughts), self._let_go() if self.is_answer else ""

    def finish(self) -> tuple[str, str]:
        """What was held: nothing more comes."""
        is_thought, held = bool(self._closes or self._opened), self._let_go()
        return (held, "") if is_thought else ("", held)

    def saw_thought(self) -> None:
        """It was told apart by whoever wrote it; so is what follows."""
        self._opened, self.has_thought = None, True

    def _think(self, thoughts: list[str]) -> bool:
        """Take the thought off what is held; whether it has ended."""
        thought, end, rest = self._held.partition(self._closes)
        if not end:
            cut = len(thought) - overlap(thought, self._closes)
            thought, rest = thought[:cut], thought[cut:]
        thoughts.append(thought)
        self._held, self._closes = rest, "" if end else self._closes
        return bool(end)

    def _begin(self) -> bool:
        """Take a mark off the beginning of what is held; False when there is none, or not yet."""
        rest = self._held.lstrip()
        if self.has_thought:
            self._held = rest
        if not rest:
            return False
        head = next((head for head in HEADS if rest.startswith(head)), None)
        if head is not None:
            self._held, self._closes = rest[len(head) :], HEADS[head]
            self._opened, self.has_thought = None, True
            return True
        if any(head.startswith(rest) for head in HEADS):
            return False
        opened, self._opened = self._opened, None
        self._closes = opened.closes if opened else ""
        self.has_thought = self.has_thought or opened is not None
        self.is_answer = opened is None
        return opened is not None

    def _let_go(self) -> str:
        held, self._held = self._held, ""
        return held


def opened_by(prompt_end: str) -> Family | None:
    """The family of the thought that a prompt has begun with its last words."""
    end = prompt_end.rstrip()
    return next((family for family in FAMILIES if end.endswith(family.opens)), None)


def find_lone_end(text: str) -> Family | None:
    """The family of a thought that ends in an answer, on a line of its own, without having begun there."""
    ended = (family for family in FAMILIES if family.closes in text and family.opens not in text)
    return next((family for family in ended if LONE_ENDS[family].search(text)), None)


def overlap(text: str, mark: str) -> int:
    """Length of the longest proper beginning of ``mark`` that ``text`` ends with."""
    lengths = range(min(len(text), len(mark) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(mark[:length])), 0)
