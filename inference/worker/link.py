"""A worker's side of the transport, in a thread of its own.

The engine's thread never waits for the transport: it leaves events here and finds claims and cancels
here, while the link exchanges them every few milliseconds. What is written the link also keeps, for a
transport that forgets it (``held``). Leases are renewed only while the engine's
thread keeps calling ``beat``: a worker that hangs loses its jobs to one that does not.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from ..errors import TransportUnavailable
from ..messages import Claim, Event, Renewal, WorkerReport
from ..transport import Transport
from .kept_logs import KeptLogs
from .throughput import Throughput

logger = logging.getLogger(__name__)

BUSY_SECONDS = 0.004  # between exchanges while the engine works: shorter than a step
RENEW_SECONDS = 1.0  # between renewals when there is no news
IDLE_SECONDS = 0.5  # longest wait for a job before the next heartbeat
HANG_SECONDS = 10.0  # an engine that has not called for so long has stopped
RETRY_SECONDS = 0.5  # while the transport cannot be reached
GIVE_UP_SECONDS = 86_400.0  # a transport that has been away for so long does not come back


class Link:
    """``report`` is sent with the next exchange after each ``beat`` that brings one. ``spare``: as for ``claim``."""

    def __init__(self, transport: Transport, worker: str, spare: int = 0) -> None:
        self._transport, self._worker, self._spare = transport, worker, spare
        self._changed = threading.Condition()
        self._outbox: dict[str, list[Event]] = {}
        self._claims: list[Claim] = []
        self._cancelled: frozenset[str] = frozenset()
        self._lost: set[str] = set()
        self._returned: set[str] = set()
        self._free = (0, 0)  # slots and KV tokens, as of the last beat
        self._busy = False
        self._report: WorkerReport | None = None
        self._pace = Throughput(time.monotonic)
        self._held = KeptLogs(time.monotonic)  # with the next three, used by the link's thread alone
        self._forgotten: set[str] = set()  # jobs that the transport is to be told again
        self._renewed = float("-inf")
        self._room = (0, 0)  # slots and KV tokens at the exchange before
        self._beat = self._reached = time.monotonic()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, unfinished: Iterable[str] = ()) -> None:
        """Send what is left, hand back ``unfinished`` jobs and claims that nobody took, and end the thread."""
        with self._changed:
            self._closing = True
            self._returned.update(unfinished)
            self._changed.notify()
        self._thread.join(IDLE_SECONDS * 4)

    # For the engine's thread

    @property
    def is_given_up(self) -> bool:
        """The transport is gone for good."""
        return time.monotonic() - self._reached > GIVE_UP_SECONDS

    def beat(self, slots: int, kv_tokens: int, *, busy: bool, report: WorkerReport | None = None) -> None:
        """The engine lives; this much it could take. ``busy``: it has something to compute."""
        with self._changed:
            self._beat, self._free = time.monotonic(), (slots, kv_tokens)
            self._busy = busy or bool(self._claims)
            self._report = self._pace.describe(report) if report else self._report

    def publish(self, events: Mapping[str, Sequence[Event]]) -> None:
        """Leave events by generation for the next exchange."""
        with self._changed:
            for generation, run in events.items():
                self._outbox.setdefault(generation, []).extend(run)
            self._pace.saw(events)
            self._changed.notify()

    def hand_back(self, generations: Iterable[str]) -> None:
        """Leave jobs that another worker is to go on with, after the events already left here."""
        with self._changed:
            returned = frozenset(generations)
            self._returned |= returned
            self._pace.lost(returned)
            self._changed.notify()

    def take(self, wait: float = 0.0) -> tuple[list[Claim], Renewal]:
        """New claims, and the jobs to stop; waits up to ``wait`` seconds for either. A job that was lost and
        claimed again stands in both: it is to be dropped first.
        """
        with self._changed:
            if wait and not self._claims and not self._lost:
                self._changed.wait(wait)
            claims, self._claims = self._claims, []
            renewal = Renewal(self._cancelled, frozenset(self._lost))
            self._cancelled, self._lost = frozenset(), set()
            slots, kv_tokens = self._free
            taken = sum(claim.job.prompt_tokens for claim in claims)
            self._free = (max(0, slots - len(claims)), max(0, kv_tokens - taken))
            return claims, renewal

    # The link's own thread

    def _run(self) -> None:
        while True:
            try:
                done = self._exchange()
            except TransportUnavailable:
                done = self._closing
                time.sleep(RETRY_SECONDS)
            except Exception:  # a link that ended would leave the engine talking to nobody
                logger.exception("an exchange with the transport failed")
                done = self._closing
                time.sleep(RETRY_SECONDS)
            if done:
                return

    def _exchange(self) -> bool:
        """Send, renew, claim. True when the link is closing and nothing is left to send."""
        with self._changed:
            if self._busy and not self._outbox and not self._closing:
                self._changed.wait(BUSY_SECONDS)
            outbox, self._outbox = self._outbox, {}
            if self._closing:
                self._returned.update(claim.job.id for claim in self._claims)
                self._claims = []
            returned, self._returned = self._returned, set()
            report, self._report = self._report, None
            alive = time.monotonic() - self._beat < HANG_SECONDS
            waiting = sum(claim.job.prompt_tokens for claim in self._claims)
            slots, kv_tokens = self._free[0] - len(self._claims), self._free[1] - waiting
            idle, closing = not self._busy and not outbox, self._closing
        if outbox:
            self._send(outbox)
        self._restore()
        if returned:
            self._return(returned)
        if closing:
            return not self._outbox
        if not alive:
            time.sleep(BUSY_SECONDS)
        else:
            self._ask(slots, kv_tokens, report, idle)
        return False

    def _ask(self, slots: int, kv_tokens: int, report: WorkerReport | None, idle: bool) -> None:
        """Renew for news of its jobs, claim for news of the line or room that was not there; both from time to time."""
        news = self._transport.news(self._worker)
        more, self._room = slots > self._room[0] or kv_tokens > self._room[1], (slots, kv_tokens)
        due = idle or time.monotonic() - self._renewed > RENEW_SECONDS
        if due or report or news.own:
            self._renewed = time.monotonic()
            self._renew(report)
        if due or report or more or news.line:
            self._claim(slots, kv_tokens, IDLE_SECONDS if idle else 0.0)
        self._reached = time.monotonic()

    def _send(self, outbox: dict[str, list[Event]]) -> None:
        self._held.write(outbox)
        try:
            refused = self._transport.publish(self._worker, outbox)
        except TransportUnavailable:
            with self._changed:  # keep them, in front of what has come since
                for generation, events in outbox.items():
                    self._outbox[generation] = events + self._outbox.get(generation, [])
            raise
        except Exception:
            self._forgotten |= outbox.keys()  # each is told by itself, and whole
            raise
        self._forgotten |= refused
        self._held.told(outbox.keys() - refused)

    def _restore(self) -> None:
        """Tell the transport again what it no longer knows; what is not this worker's any more is lost."""
        while self._forgotten:
            generation = next(iter(self._forgotten))
            job = self._held.read(generation)
            if job is not None and self._transport.restore(self._worker, job.claim, job.log):
                self._held.told({generation})
            else:
                self._lose({generation})
            self._forgotten.discard(generation)

    def _lose(self, generations: Iterable[str]) -> None:
        self._held.forget(generations)
        with self._changed:
            self._lost.update(generations)
            self._pace.lost(frozenset(generations))
            for generation in generations:
                self._outbox.pop(generation, None)  # whoever has the job now writes its next events
            self._changed.notify()

    def _return(self, generations: set[str]) -> None:
        try:
            self._transport.hand_back(self._worker, generations)
        except TransportUnavailable:
            with self._changed:  # renewing would hold them for a worker that does not write them
                self._returned |= generations
            raise
        self._held.forget(generations)

    def _renew(self, report: WorkerReport | None) -> None:
        renewal = self._transport.renew(self._worker, report)
        if renewal.forgotten:
            self._forgotten |= self._held.names()
        else:
            self._held.prune()
        if renewal.lost:
            self._lose(renewal.lost)
        if renewal.cancelled:
            with self._changed:
                self._cancelled = renewal.cancelled
                self._changed.notify()

    def _claim(self, slots: int, kv_tokens: int, wait: float) -> None:
        if slots <= 0:
            return
        claims = self._transport.claim(self._worker, slots, max(0, kv_tokens), wait, self._spare)
        if claims:
            self._held.begin(claims)
            with self._changed:
                self._pace.began(claims)
                self._claims += claims
                self._busy = True  # at once: a link that waits for the next job would hold this one's first token
                self._changed.notify()
