"""A worker: claims jobs from the transport, has a writer write them, publishes what is written.

One thread owns the writer: it takes claims and cancels from the link, lets the writer advance, and leaves
what was written with the link, which talks to the transport meanwhile. So a cancelled answer is out of
the batch before the next step, and the GPU never waits for a network.

``python -m inference.worker --help`` says how to start one; ``serve`` starts one with ``--socket``.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
from dataclasses import replace
from typing import Any

from ..errors import InferenceError, InvalidSampling, ModelError, PromptTooLong, TransportUnavailable
from ..messages import ANSWER, Claim, Ended, Kind, WorkerReport
from ..model_names import ModelCard, introduce
from ..transport import Transport
from ..writers.base import LoadWriter, Writer, Written
from .job_in_hand import JobInHand
from .link import Link

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
FLUSH_SECONDS = 0.025  # tokens of one window travel together
IDLE_SECONDS = 0.5  # longest wait for a job before the next heartbeat
REPORT_SECONDS = 0.5

DRAIN = 64  # jobs that a worker without a writer ends at once
GONE = "The model is not running. Your message is kept; try again when it is back."


class Worker:
    """``run`` loads the writer and serves until ``stop``. Everything happens in the thread of ``run``.

    ``load`` is called with a progress callback (share, what is done). ``model`` is the name that jobs
    ask for, ``card`` what people are told of it, ``demo`` whether they are to be told that this is the bundled demo.
    Answers under way when it is stopped have ``grace`` seconds to end; what is not written then is handed back to the
    line. The last ``spare`` of the writer's slots are for tenants that have little under way. It takes jobs of
    ``kind``. A worker that has no writer ends; one that is ``alone`` on its machine stays, and if none of the others
    of its kind there has one, it ends what waits, and says why.
    """

    def __init__(
        self,
        transport: Transport,
        load: LoadWriter,
        *,
        name: str,
        model: str,
        demo: bool = False,
        grace: float = 0.0,
        spare: int = 0,
        alone: bool = True,
        kind: Kind = ANSWER,
        card: ModelCard | None = None,
    ) -> None:
        self._transport, self._load, self._name = transport, load, name
        self._grace, self._spare, self._alone = grace, spare, alone
        self._report = WorkerReport(name, "starting", model=model, demo=demo, at=time.time(), kind=kind)
        if card:
            self._report = introduce(self._report, card)
        self._running: dict[str, JobInHand] = {}
        self._told: list[float] = []  # when it was told to stop, each time
        self._link = Link(transport, name, spare)
        self._flushed = self._reported = 0.0
        self._writer: Writer | None = None

    @property
    def report(self) -> WorkerReport:
        return self._report

    @property
    def loaded(self) -> bool:
        return self._writer is not None

    @property
    def stopping(self) -> bool:
        return bool(self._told)

    def stop(self) -> None:
        """Claim nothing more, and end ``run`` once all is written or the grace is over; called again, at once.

        It only notes that, and takes no lock: a signal's handler may call it, in the midst of another's call.
        """
        self._told.append(time.monotonic())

    def run(self) -> bool:
        """True when it ended because it was stopped, False when it has no writer, or no transport, to go on with."""
        self._link.start()
        try:
            writer = self._load_writer()
            while not self._is_over():
                self._turn(writer)
        except Exception as error:  # no model, a fault of ours, no memory: say so rather than leave people waiting
            self._fail_all(error)
        finally:
            self._link.publish({generation: job.take_events() for generation, job in self._running.items()})
            self._link.close(self._running)
            if self._writer is not None:
                self._writer.close()
        return self.stopping or not (self._report.state == "failed" or self._link.is_given_up)

    def _is_over(self) -> bool:
        told = self._told[:2]
        if not told:
            return self._link.is_given_up
        return not self._running or len(told) > 1 or time.monotonic() >= told[0] + self._grace

    def _turn(self, writer: Writer) -> None:
        """One round of the loop."""
        self._exchange(writer)
        if writer.busy:
            window = FLUSH_SECONDS - (time.monotonic() - self._flushed)
            for written in writer.advance(max(0.0, window)):
                self._take(written)
        self._flush()

    # Loading

    def _load_writer(self) -> Writer:
        """Load, with a heartbeat: a large model can be silent for longer than a worker may be."""
        loaded = threading.Event()
        threading.Thread(target=self._keep_telling, args=(loaded,), name="heartbeat", daemon=True).start()
        try:
            writer = self._load(self._tell_loading)
        finally:
            loaded.set()
        self._writer = writer
        _spare_collections()
        self._report = replace(self._report, **_describe(writer), progress=1.0)
        self._tell(self._report.state)
        return writer

    def _keep_telling(self, loaded: threading.Event) -> None:
        while not loaded.wait(HEARTBEAT_SECONDS):
            self._tell(self._report.state)

    def _tell_loading(self, share: float, detail: str) -> None:
        state = "downloading" if detail.startswith(("Looking up", "Downloading")) else "loading"
        self._tell(state, progress=share, detail=detail)

    def _fail_all(self, error: Exception) -> None:
        """There is no writer: say why and end what it held; alone, also what waits, until someone stops it."""
        if not isinstance(error, ModelError):  # of those the report says all there is to say
            logger.error("the engine has failed", exc_info=error)
        detail = str(error) or type(error).__name__
        for generation in list(self._running):
            self._end(generation, Ended(0, "failed", error_code="engine_error", error_message=GONE))
        self._tell("failed", detail=detail)
        while self._alone and not self.stopping:
            self._tell("failed", detail=detail)
            self._link.beat(DRAIN + self._spare if self._is_last() else 0, 0, busy=False)
            for claim in self._link.take(IDLE_SECONDS)[0]:
                self._hold(claim)
                self._end(claim.job.id, Ended(0, "failed", error_code="no_worker", error_message=GONE))

    def _is_last(self) -> bool:
        """Whether no worker is left that could write what waits."""
        try:
            workers = self._transport.stats().workers
        except TransportUnavailable:
            return False
        others = (worker for worker in workers if worker.kind == self._report.kind and worker.worker != self._name)
        return all(worker.state == "failed" for worker in others)

    def _tell(self, state: Any, **changes: Any) -> None:
        self._report = replace(self._report, state=state, at=time.time(), **changes)
        with contextlib.suppress(TransportUnavailable):  # whoever would hear it is not there
            self._transport.renew(self._name, self._report)

    # One turn

    def _exchange(self, writer: Writer) -> None:
        """Stop what was cancelled or lost, begin what was claimed; wait for a job when there is none."""
        stopping = self.stopping
        slots, kv_tokens = (0, 0) if stopping else (writer.free_slots, writer.free_kv_tokens)
        self._link.beat(slots, kv_tokens, busy=bool(self._running), report=self._next_report(writer))
        claims, renewal = self._link.take(0.0 if self._running or stopping else IDLE_SECONDS)
        for generation in renewal.lost & self._running.keys():
            writer.stop(generation)
            del self._running[generation]
        for generation in renewal.cancelled & self._running.keys():
            if (written := writer.stop(generation)) is not None:
                self._take(written)
        if stopping:
            self._link.hand_back(claim.job.id for claim in claims)
            return
        for claim in claims:
            self._begin(writer, claim)

    def _next_report(self, writer: Writer) -> WorkerReport | None:
        """The heartbeat's content, now and then, and as soon as it is to stop."""
        stopping = self.stopping
        due = time.monotonic() - self._reported >= REPORT_SECONDS
        if not due and (not stopping or self._report.state == "draining"):
            return None
        self._reported = time.monotonic()
        self._report = replace(
            self._report,
            **_describe(writer) | ({"state": "draining"} if stopping else {}),
            free_slots=max(0, writer.free_slots - self._spare),
            free_kv_tokens=writer.free_kv_tokens,
            counters=writer.counters(),
            at=time.time(),
        )
        return self._report

    def _hold(self, claim: Claim) -> JobInHand:
        tokens = max(claim.tokens, len(claim.token_ids))
        running = JobInHand(claim, claim.next_seq, time.time(), tokens=tokens)
        self._running[claim.job.id] = running
        return running

    def _begin(self, writer: Writer, claim: Claim) -> None:
        self._hold(claim)
        try:
            writer.begin(claim)
        except Exception as error:  # whatever a job brings about must not end the others
            self._refuse(claim, error)

    def _refuse(self, claim: Claim, error: Exception) -> None:
        """The job could not begin."""
        if isinstance(error, PromptTooLong):
            self._end_without_room(claim, error)
        elif isinstance(error, InvalidSampling):
            self._fail(claim, error.code, str(error), error.param)
        elif isinstance(error, InferenceError):
            self._fail(claim, error.code, str(error))
        else:
            logger.error("job %s could not be started", claim.job.id, exc_info=error)
            self._fail(claim, "engine_error", "The model could not start on this message.")

    def _end_without_room(self, claim: Claim, error: PromptTooLong) -> None:
        """What is written already, by a worker with a longer context or before a person said to go on, is complete as
        far as it can be here.
        """
        tokens = self._running[claim.job.id].tokens
        if tokens or claim.job.resume_text:
            self._end(claim.job.id, Ended(0, "length", tokens))
        else:
            self._fail(claim, error.code, f"Too long for this model. {error} Shorten it and send it again.")

    def _fail(self, claim: Claim, code: str, message: str, param: str = "") -> None:
        tokens = self._running[claim.job.id].tokens
        self._end(claim.job.id, Ended(0, "failed", tokens, error_code=code, error_message=message, error_param=param))

    def _take(self, written: Written) -> None:
        running = self._running[written.generation]
        if written.refused is not None:
            self._refuse(running.claim, written.refused)
            return
        if started := written.started:
            seq, model = running.take_seq(), self._report.model
            running.ready.append(replace(started, seq=seq, worker=self._name, model=model, at=running.started))
        running.token_ids.extend(written.token_ids)
        running.without_ids += written.without_ids
        running.choices.extend(written.choices)
        # PostgreSQL cannot store U+0000; left out here, it is out of the log and the database alike.
        if written.text:
            running.text.append(written.text.replace("\x00", ""))
        if written.thought:
            running.thought.append(written.thought.replace("\x00", ""))
        if written.vectors:
            running.ready.append(replace(written.vectors, seq=running.take_seq()))
        if written.ended:
            self._end(written.generation, written.ended)
        elif written.returned:
            self._link.publish({written.generation: self._running.pop(written.generation).take_events()})
            self._link.hand_back([written.generation])

    def _end(self, generation: str, ended: Ended) -> None:
        """The last event of a job; it is published at once, and the job forgotten."""
        running = self._running.pop(generation)
        events = running.take_events()
        events.append(replace(ended, seq=running.take_seq(), at=time.time()))
        self._link.publish({generation: events})

    def _flush(self) -> None:
        """Publish the window's events of every job, once the window is over."""
        now = time.monotonic()
        if now - self._flushed < FLUSH_SECONDS:
            return
        taken = ((generation, job.take_events()) for generation, job in self._running.items())
        if window := {generation: events for generation, events in taken if events}:
            self._flushed = now
            self._link.publish(window)


def _spare_collections() -> None:
    """What is loaded stays, and so do the events that are kept of every answer: to look at them again and again for
    circles, of which there are hardly any, took a part of a relay's time for nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _describe(writer: Writer) -> dict[str, Any]:
    """What a heartbeat says of the writer itself."""
    trouble = writer.trouble
    return {
        "state": "failed" if trouble else "ready",
        "detail": trouble,
        "model_revision": writer.revision,
        "context_length": writer.context_length,
    }
