"""Which turns of a conversation a model reads: as many of the newest as fit its context."""

from __future__ import annotations

from collections.abc import Sequence

from ..messages import ChatMessage

ANSWER_SHARE = 4  # of a full context, at least one part in this many is kept free for the answer
BYTES_A_TOKEN = 64  # no tokenizer's average token is longer


def prompt_room(context: int, plan_limit: int, max_tokens: int) -> int:
    """Most prompt tokens, so that an answer still has space behind them."""
    room = context - min(max_tokens, context // ANSWER_SHARE)
    return min(room, plan_limit) if plan_limit else room


def droppable(messages: Sequence[ChatMessage]) -> int:
    """How many messages may be left out: all but the system's and the newest, in pairs of question and answer."""
    rest = len(messages) - system_messages(messages) - 1
    return max(0, rest - rest % 2)


def without_oldest(messages: Sequence[ChatMessage], dropped: int) -> list[ChatMessage]:
    first = system_messages(messages)
    kept = list(messages[first + dropped :])
    while dropped and len(kept) > 1 and kept[0].role == "assistant":  # strict templates want a question first
        del kept[0]
    return [*messages[:first], *kept]


def system_messages(messages: Sequence[ChatMessage]) -> int:
    """How many of them come before the turns: one, or none."""
    return 1 if messages[0].role == "system" else 0
