"""The search in one's conversations: however many there are, an answer comes soon and says where it stopped."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import OperationalError, connections, transaction

from .models import Conversation
from .models.conversations import ConversationQuerySet

FIRST_STEP = 16  # conversations: though each were as long as a book
GROWTH = 4  # of a step over the one before
LONGEST_STEP = 256  # for many more PostgreSQL would rather read everybody's messages
INDEX_AFTER = 64  # a word that is in nearly all conversations has ended by this step
INDEX_MILLISECONDS, INDEX_CHARACTERS = 150, 3  # for how long they are asked, and the fewest that they know
QUERY_CANCELED = "57014"
ENOUGH_SECONDS = 0.4  # a next step is sized to end by then

Place = tuple[datetime, UUID]  # of a conversation among those of a person, newest first


@dataclass(frozen=True, slots=True)
class Found:
    """Those that match, newest first. ``last``: what was looked at last; None where there are no older ones."""

    conversations: list[Conversation]
    last: Place | None


def first_of(rows: ConversationQuerySet, most: int) -> Found:
    """Whatever is in them."""
    page = list(rows[: most + 1])
    return Found(page[:most], _place(page[most - 1]) if len(page) > most else None)


def find_conversations(rows: ConversationQuerySet, words: str, most: int) -> Found:
    """Up to ``most`` of ``rows`` (``of`` somebody) with ``words`` in their title or a message.

    The newest are read first, which finds a word that is in all of them. Then the indexes are asked, for a short time:
    they know rare words at once, and reading all that a frequent one is in would take them long. After that older ones
    are read in growing steps until there are enough or the time is over. To go on, ask ``after`` the last.
    """
    return _Search(rows, words, most).run()


@dataclass
class _Search:
    rows: ConversationQuerySet
    words: str
    most: int
    found: list[Conversation] = field(default_factory=list)
    last: Place | None = None
    looked_at: int = 0

    def run(self) -> Found:
        began, step = time.monotonic(), FIRST_STEP
        while step:
            if self._read(step):
                return self._page()
            if step == INDEX_AFTER and self._ask_indexes():
                return self._page()
            step = self._next_step(step, time.monotonic() - began)
        return Found(self.found, self.last)

    def _page(self) -> Found:
        """Once there are more than enough, or all have been looked at."""
        more = len(self.found) > self.most
        return Found(self.found[: self.most], _place(self.found[self.most - 1]) if more else None)

    @property
    def _rest(self) -> ConversationQuerySet:
        return self.rows.after(*self.last) if self.last else self.rows

    def _read(self, step: int) -> bool:
        """Look at the next ``step``. True when that is all."""
        places: list[Place] = list(self._rest.values_list("updated_at", "pk")[: step + 1])
        if window := places[:step]:
            self.found += self.rows.between(window[0], window[-1]).matching(self.words, read=True)
            self.last, self.looked_at = window[-1], self.looked_at + len(window)
        return len(places) <= step or len(self.found) > self.most

    def _ask_indexes(self) -> bool:
        """Look at all the rest. False where the time did not suffice, or no index knows so short a word."""
        if connections[self.rows.db].vendor != "postgresql" or len(self.words) < INDEX_CHARACTERS:
            return False
        try:
            with transaction.atomic(self.rows.db), connections[self.rows.db].cursor() as cursor:
                cursor.execute(f"set local statement_timeout = {INDEX_MILLISECONDS}")
                self.found += self._rest.matching(self.words)[: self.most + 1 - len(self.found)]
                cursor.execute("set local statement_timeout = default")
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", "") != QUERY_CANCELED:
                raise
            return False
        return True

    def _next_step(self, step: int, took: float) -> int:
        """As many as the time that is left allows by what those before took; 0 where that is not worth it."""
        fits = int((ENOUGH_SECONDS - took) * self.looked_at / took) if took > 0 else LONGEST_STEP
        return min(step * GROWTH, LONGEST_STEP, fits) if fits >= FIRST_STEP else 0


def _place(conversation: Conversation) -> Place:
    return conversation.updated_at, conversation.pk
