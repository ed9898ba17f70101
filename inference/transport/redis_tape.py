"""What of a worker's events goes on its tape in Redis, a command for all of them, and what is looked at one by one.

A job's events may go on the tape once others of it have been looked at and taken, as long as they are text and follow
without a gap. The flushes of a worker are a chain: where Redis has not seen the one before, or has taken a job from the
worker since, it takes nothing, and every job is to be looked at again (lua/publish.lua).
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..line.fairness import OUTPUT_COST
from ..messages import Ended, Event, Job, Text
from ..wire import encode_event

Events = Mapping[str, Sequence[Event]]


@dataclass(slots=True)
class Tape:
    """One worker's."""

    flush: str = ""  # the name of the last one that was taken
    _jobs: dict[str, tuple[str, float]] = field(default_factory=dict)  # tenant and weight
    _seqs: dict[str, int] = field(default_factory=dict)  # of those that may go on the tape, the last number

    def hold(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._jobs[job.id] = (job.tenant, job.weight)

    def drop(self, generations: Iterable[str]) -> None:
        for generation in generations:
            self._jobs.pop(generation, None)
            self._seqs.pop(generation, None)

    def doubt(self) -> None:
        """Look at every job again."""
        self._seqs.clear()

    def sort(self, events: Events) -> tuple[Events, Events]:
        """Those for the tape, and those that are to be looked at."""
        tape = {name: run for name, run in events.items() if self._goes_on(name, run)}
        return tape, {name: run for name, run in events.items() if name not in tape}

    def _goes_on(self, generation: str, events: Sequence[Event]) -> bool:
        seq = self._seqs.get(generation)
        for event in events:
            if seq is None or type(event) is not Text or event.seq != seq + 1:
                return False
            seq = event.seq
        return seq is not None

    def costs(self, events: Events) -> bytes:
        """What tenants owe for those on the tape."""
        owed: dict[str, float] = defaultdict(float)
        for generation, run in events.items():
            tenant, weight = self._jobs[generation]
            owed[tenant] += sum(event.tokens for event in run if isinstance(event, Text)) * OUTPUT_COST / weight
        return "\n".join(f"{cost!r} {tenant}" for tenant, cost in owed.items() if cost).encode()

    def taken(self, flush: str, events: Events, refused: Iterable[str]) -> None:
        self.flush = flush
        for generation, run in events.items():
            if run and generation in self._jobs:
                self._seqs[generation] = run[-1].seq
            if run and isinstance(run[-1], Ended):
                self.drop([generation])
        for generation in refused:
            self._seqs.pop(generation, None)


def new_flush() -> str:
    return uuid.uuid4().hex


def tape_text(events: Events) -> bytes:
    """As ``record`` of lua/common.lua makes them."""
    return b"".join(
        [
            b"\n%b %d %d %b" % (name, event.seq, _tokens(event), encode_event(event))
            for name, run in ((name.encode(), run) for name, run in events.items())
            for event in run
        ]
    )


def events_text(events: Sequence[Event]) -> bytes:
    """As ``read_events`` of lua/common.lua reads them, in one argument: each one more costs as much as the event."""
    return b"\n".join([b"%d %d %b" % (event.seq, _tokens(event), encode_event(event)) for event in events])


def run_text(generation: str, events: Sequence[Event]) -> bytes:
    """A job's events to be looked at, as lua/publish.lua reads them."""
    return b"%b %d\n%b" % (generation.encode(), ends(events), events_text(events))


def ends(events: Sequence[Event]) -> int:
    return int(bool(events) and isinstance(events[-1], Ended))


def _tokens(event: Event) -> int:
    return event.tokens if isinstance(event, Text) else 0
