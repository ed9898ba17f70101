"""The held-out question list: by hand (``data/heldout.toml``) and drawn (``data/heldout_drawn.json``).

``python -m inference.demo.heldout`` draws the second part anew; needed after every change of the corpus.
"""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from .corpus import TITLE_PROMPT, conversation, draw_scene
from .corpus_exchange import Exchange, load_toml
from .corpus_holdout import DRAWN, held
from .corpus_instructions import BASE

SEED = 20_000
PER_CATEGORY = {
    "facts": 35,
    "arithmetic": 35,
    "rewriting": 30,
    "product": 20,
    "small_talk": 15,
    "writing": 15,
    "unknown": 25,
    "titles": 20,
}
LONG_CONVERSATIONS = 20


@dataclass(frozen=True, slots=True)
class Question:
    """Messages that end with the user's, and what a right answer contains (or is, when ``exact``)."""

    category: str
    messages: tuple[str, ...]
    accept: tuple[str, ...]
    exact: bool = False
    system: str | None = BASE

    def chat(self) -> list[dict[str, str]]:
        roles = ("user", "assistant")
        turns = [{"role": roles[place % 2], "content": text} for place, text in enumerate(self.messages)]
        return turns if self.system is None else [{"role": "system", "content": self.system}, *turns]


def is_right(question: Question, answer: str) -> bool:
    """Exact: letter for letter but for a final full stop. Otherwise one accepted text occurs, case aside."""
    if question.exact:
        return answer.strip().removesuffix(".") in [text.removesuffix(".") for text in question.accept]
    return any(_occurs(text, answer) for text in question.accept)


def _occurs(text: str, answer: str) -> bool:
    start, end = (r"(?<!\w)" if text[0].isalnum() else "", r"(?!\w)" if text[-1].isalnum() else "")
    return re.search(start + re.escape(text.removesuffix(".").lower()) + end, answer.lower()) is not None


def questions() -> list[Question]:
    """The whole committed list."""
    drawn = json.loads(DRAWN.read_text("utf-8"))
    return [_from_json(item) for item in [*load_toml("heldout")["items"], *drawn]]


def _from_json(item: dict[str, object]) -> Question:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in item.items()}
    return Question(**fields)  # type: ignore[arg-type]


def draw() -> Iterator[Question]:
    """Single questions of every category, then the last turns of conversations with several."""
    rng = random.Random(SEED)
    wanted = dict(PER_CATEGORY)
    while any(wanted.values()):
        exchange = next(turn for turn in draw_scene(rng, held_out=True) if held(turn))
        if exchange.key.split()[0] in load_toml("relations"):
            continue  # a follow-up, which cannot stand alone
        category = exchange.category if wanted[exchange.category] else "titles"
        if wanted[category]:
            wanted[category] -= 1
            yield _titled(exchange) if category == "titles" else _single(exchange)
    for _ in range(LONG_CONVERSATIONS):
        yield _last_turn(rng)


def _single(exchange: Exchange) -> Question:
    return Question(exchange.category, (exchange.question,), exchange.accept or (exchange.answer,), exchange.exact)


def _titled(exchange: Exchange) -> Question:
    return Question("titles", (exchange.question,), (exchange.title,), True, TITLE_PROMPT)


def _last_turn(rng: random.Random) -> Question:
    """The last turn of a conversation of two to eight, judged by the answer under its instructions."""
    while True:
        drawn = conversation(rng, held_out=True)
        turns = [message["content"] for message in drawn.messages if message["role"] != "system"]
        if 4 <= len(turns) <= 16 and drawn.exchanges[-1].category in (
            "facts",
            "multi_turn",
            "arithmetic",
            "rewriting",
        ):
            break
    system = drawn.messages[0]["content"] if drawn.messages[0]["role"] == "system" else None
    return Question("multi_turn", tuple(turns[:-1]), (turns[-1],), True, system)


def main() -> None:
    items = [asdict(question) for question in draw()]
    DRAWN.write_text(json.dumps(items, ensure_ascii=False, indent=1) + "\n", "utf-8")
    print(f"wrote {len(items)} questions to {DRAWN}")


if __name__ == "__main__":
    main()
