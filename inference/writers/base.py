"""What a worker needs of whatever writes its answers: claims in, pieces of answers out.

Two things do: ``torch``, an engine of this process, and ``relay``, servers elsewhere. ``embed`` is the same for
texts to embed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..messages import Choice, Claim, Ended, Started, Vectors

TellProgress = Callable[[float, str], None]  # a share from 0 to 1, and what is done


@dataclass(slots=True)  # and not frozen: that would cost three times as much, for every token
class Written:
    """What is new of one answer. The worker numbers the events and puts its name and the time in. ``thought`` came
    before ``text``, which is without any (``text.Splitter``).

    ``returned``: not this engine's fault nor the job's, another worker is to write it. ``refused``: why the job could
    not begin; nothing of it follows.
    """

    generation: str
    started: Started | None = None
    text: str = ""
    token_ids: tuple[int, ...] = ()
    without_ids: int = 0
    choices: tuple[Choice, ...] = ()
    ended: Ended | None = None
    returned: bool = False
    thought: str = ""
    vectors: Vectors | None = None
    refused: Exception | None = None


class Writer(Protocol):
    """One thread, the worker's, makes all calls; none but ``advance`` takes long."""

    @property
    def revision(self) -> str:
        """Which weights these are; empty when nobody told."""

    @property
    def context_length(self) -> int:
        """Most tokens of a prompt and its answer; 0 when unknown."""

    @property
    def free_slots(self) -> int:
        """How many more answers could begin now."""

    @property
    def free_kv_tokens(self) -> int:
        """How many more tokens of prompts and answers there is room for."""

    @property
    def busy(self) -> bool:
        """There are answers to advance."""

    @property
    def trouble(self) -> str:
        """Why no answer can be written for now, for people to read; empty when all is well."""

    def begin(self, claim: Claim) -> None:
        """Take a job, going on after what was published of it. When it cannot it raises ``InferenceError``, or says so
        later (``Written.refused``).
        """

    def advance(self, window: float) -> Sequence[Written]:
        """Compute a step, or wait for what others compute; then what is new, in the order of events.

        Nothing is published for the next ``window`` seconds, so that whoever waits anyway can wait for so long.
        """

    def stop(self, generation: str) -> Written | None:
        """Drop an answer at once; what had not been given out of it, with its end. None when it has ended."""

    def counters(self) -> dict[str, float]:
        """Figures for the heartbeat."""

    def close(self) -> None:
        """Let go of everything, answers under way included."""


LoadWriter = Callable[[TellProgress], Writer]


def seed_of(job_id: str) -> int:
    """A seed of the job's own: random to people, and the same for a worker that goes on with the job."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") >> 2
