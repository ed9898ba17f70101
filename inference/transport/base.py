"""The transport contract.

The token log kept by the transport is the truth while an answer is being written. All verbs but
``follow`` are short, thread-safe and synchronous; every one raises ``TransportUnavailable`` when the
transport cannot be reached, and has then done nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

from ..messages import Claim, Event, Job, Position, Renewal, Stats, Waiting, WorkerReport
from .marks import News


class Transport(Protocol):
    # For whoever asks

    def submit(self, job: Job) -> None:
        """Queue a job. Submitting an id the transport knows changes nothing."""

    def cancel(self, generation: str) -> None:
        """Stop a job: a waiting one ends at once, a running one within a step. Unknown ids are ignored."""

    def position(self, generation: str) -> Position | None:
        """Place among the jobs that the same workers take (``fairness.places``); None when the job does not wait."""

    def line(self, output_tokens: float = 0.0, also: Job | None = None) -> list[Waiting]:
        """Every waiting job in the order they will go if nothing comes and each writes ``output_tokens``.

        ``also`` is a job that nobody has submitted: it stands in the list where it would if it were submitted now.
        See ``FairQueue.line``.
        """

    def stats(self) -> Stats:
        """Live workers (a heartbeat in the last seconds), and how many jobs wait and run."""

    # For whoever reads

    def log(self, generation: str, after_seq: int = 0) -> list[Event]:
        """The events after ``after_seq`` so far, without waiting.

        Raises ``UnknownGeneration``, or ``LogExpired`` when the log no longer reaches back that far.
        """

    def follow(self, generation: str, after_seq: int = 0) -> AsyncIterator[list[Event]]:
        """Batches of events after ``after_seq`` as they come; ends after ``Ended``. Raises as ``log``.

        An empty batch says that the connection was lost in between: numbers go on, but a log that fell back with its
        server and was written on by another worker may have had other events before them.
        """

    def release(self, generation: str) -> None:
        """The ended answer is in the database: the log may go when its retention is over.

        A job that has not ended here, because its end was lost or is not worth waiting for, leaves its line and its
        worker, and its log ends as cancelled.
        """

    def live(self) -> frozenset[str]:
        """Jobs that wait or that a worker holds."""

    def unreleased(self) -> frozenset[str]:
        """Jobs that have ended, and that nobody has released: their ends are to be written, or somebody who was about
        to say that they are has gone, or a worker has told a transport that forgot them again.
        """

    # For a worker

    def claim(
        self, worker: str, free_slots: int, free_kv_tokens: int, wait: float = 0.0, spare: int = 0
    ) -> list[Claim]:
        """Up to ``free_slots`` jobs that fit ``free_kv_tokens``, fairest first, under a lease.

        The last ``spare`` of these slots are for tenants that have little under way (``fairness.may_use_spare``).
        Waits up to ``wait`` seconds for the first one. A worker gets jobs of the kind and model it has reported, and
        those that ask for no model; one that has not reported, answers to write of any. A job whose worker lost
        its lease, or handed it back, comes with what was published of it (``Claim.log``, ``text``, ``tokens``,
        ``token_ids``); one that lost two workers fails with ``worker_lost`` instead.
        """

    def publish(self, worker: str, events: Mapping[str, Sequence[Event]]) -> frozenset[str]:
        """Append events to the logs of jobs this worker holds; those that are there already are left out.

        Returns the jobs of which nothing was appended: their lease is lost, or the transport has forgotten
        them. ``restore`` tells which.
        """

    def restore(self, worker: str, claim: Claim, events: Sequence[Event]) -> bool:
        """Tell a transport that has forgotten a job about it again, with its whole log so far.

        True when the worker holds the job (again), or its end is now in the log; False when it has lost it.
        """

    def renew(self, worker: str, report: WorkerReport | None = None) -> Renewal:
        """Extend the worker's leases. Returns which of its jobs to stop and which it has lost."""

    def news(self, worker: str) -> News:
        """Whether a claim, or a renewal, could bring something new since this was last asked; True when in doubt.

        Asks nobody: a worker may call it as often as it likes, and need not claim or renew in between.
        """

    def hand_back(self, worker: str, generations: Collection[str]) -> None:
        """Give jobs back, with what was published of them, to whoever claims next: the worker is about to end.

        They go to the head of their tenants' lines at once, and the claim is not counted as one that lost a
        worker. A job that was cancelled meanwhile ends. Those the worker does not hold are left alone.
        """
