"""A worker: claims jobs from the transport, runs them on an engine, publishes what they write.

One thread owns the engine and does everything in turn: renew leases and hear of cancels, claim what
fits, one engine step, publish. So a cancelled answer is out of the batch before the next step, and a
worker that hangs stops renewing its leases and loses its jobs.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .engine import LLMEngine, SamplingParams
from .engine.outputs import StepOutput
from .errors import InferenceError, PromptTooLong
from .messages import ChatMessage, Claim, Ended, EndReason, Event, Started, Text, WorkerReport
from .transport import Transport

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.025  # tokens of one window travel together
IDLE_SECONDS = 0.5  # longest wait for a job before the next heartbeat
REPORT_SECONDS = 0.5
BYTES_A_TOKEN = 64  # no tokenizer's average token is longer
ANSWER_SHARE = 4  # of a full context, at least one part in this many is kept free for the answer

DRAIN = 64  # jobs that a worker without an engine ends at once
GONE = "The model is not running. Your message is kept; try again when it is back."

LoadEngine = Callable[[Callable[[float, str], None]], LLMEngine]


@dataclass(slots=True)
class _Running:
    """A claimed job on the engine, and its events since the last flush."""

    claim: Claim
    next_seq: int
    started: float
    text: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    ready: list[Event] = field(default_factory=list)
    output: StepOutput | None = None

    def take_seq(self) -> int:
        self.next_seq += 1
        return self.next_seq - 1

    def take_events(self) -> list[Event]:
        """Everything since the last flush, the tokens as one event."""
        if self.token_ids or self.text:
            self.ready.append(Text(self.take_seq(), "".join(self.text), tuple(self.token_ids)))
            self.text, self.token_ids = [], []
        events, self.ready = self.ready, []
        return events


class Worker:
    """``run`` loads the engine and serves until ``stop``. Everything happens in the thread of ``run``.

    ``load`` is called with a progress callback (share, what is done). ``model`` is the name that jobs
    ask for, ``demo`` whether people are to be told that this is the bundled demo.
    """

    def __init__(self, transport: Transport, load: LoadEngine, *, name: str, model: str, demo: bool = False) -> None:
        self._transport, self._load, self._name = transport, load, name
        self._report = WorkerReport(name, "starting", model=model, demo=demo, at=time.time())
        self._running: dict[str, _Running] = {}
        self._stopping = threading.Event()
        self._flushed = self._reported = 0.0
        self._engine: LLMEngine

    @property
    def report(self) -> WorkerReport:
        return self._report

    def stop(self) -> None:
        """End ``run`` after the step under way. Answers being written stay unfinished in the transport."""
        self._stopping.set()

    def run(self) -> None:
        try:
            self._engine = self._load(self._tell_loading)
        except Exception as error:
            self._fail_all(error)
            return
        self._tell(
            "ready",
            model_revision=self._engine.revision,
            context_length=self._engine.context_length,
            progress=1.0,
        )
        try:
            while not self._stopping.is_set():
                self._turn()
        except Exception as error:  # a fault of ours, or a full disk: say so rather than leave people waiting
            self._fail_all(error)

    def _turn(self) -> None:
        """One round of the loop."""
        self._renew()
        self._claim()
        if self._engine.has_unfinished:
            for output in self._engine.step():
                self._take(output)
        self._flush()

    # Loading

    def _tell_loading(self, share: float, detail: str) -> None:
        state = "downloading" if detail.startswith(("Looking up", "Downloading")) else "loading"
        self._tell(state, progress=share, detail=detail)

    def _fail_all(self, error: Exception) -> None:
        """There is no engine: say why, end what it held and what waits, until someone stops the worker."""
        known = isinstance(error, InferenceError | MemoryError)
        logger.error("the engine is not there: %s", error, exc_info=error if not known else None)
        detail = str(error) or type(error).__name__
        for generation in list(self._running):
            self._end(generation, "failed", "engine_error", GONE)
        while not self._stopping.is_set():
            self._tell("failed", detail=detail)
            for claim in self._transport.claim(self._name, DRAIN, 0, IDLE_SECONDS):
                self._running[claim.job.id] = _Running(claim, claim.next_seq, time.time())
                self._end(claim.job.id, "failed", "no_worker", GONE)

    def _tell(self, state: Any, **changes: Any) -> None:
        self._report = replace(self._report, state=state, at=time.time(), **changes)
        self._transport.renew(self._name, self._report)

    # One turn

    def _renew(self) -> None:
        """Hear of cancels every turn; report now and then."""
        report = None
        if time.monotonic() - self._reported > REPORT_SECONDS:
            self._reported = time.monotonic()
            report = self._report = replace(
                self._report,
                free_slots=self._engine.free_slots,
                free_kv_tokens=self._engine.free_kv_tokens,
                counters=self._engine.counters(),
                at=time.time(),
            )
        renewal = self._transport.renew(self._name, report)
        for generation in renewal.lost & self._running.keys():
            self._engine.abort(generation)
            del self._running[generation]
        for generation in renewal.cancelled & self._running.keys():
            self._engine.abort(generation)
            self._end(generation, "cancelled")

    def _claim(self) -> None:
        wait = 0.0 if self._running else IDLE_SECONDS
        slots, kv_tokens = self._engine.free_slots, self._engine.free_kv_tokens
        for claim in self._transport.claim(self._name, slots, kv_tokens, wait) if slots else ():
            self._begin(claim)

    def _begin(self, claim: Claim) -> None:
        job = claim.job
        running = _Running(claim, claim.next_seq, time.time())
        self._running[job.id] = running
        try:
            prompt, dropped = self._fit_prompt(claim)
            params = self._params(claim, len(prompt))
            self._engine.add_request(
                job.id, prompt, params, tenant=job.tenant, band=job.band, resume_token_ids=claim.token_ids
            )
        except PromptTooLong as error:
            self._end(job.id, "failed", error.code, f"Your message is too long for this model. {error}")
        except InferenceError as error:
            self._end(job.id, "failed", error.code, str(error))
        except Exception:
            logger.exception("job %s could not be started", job.id)
            self._end(job.id, "failed", "engine_error", "The model could not start on this message.")
        else:
            running.ready.append(self._started(running, params, len(prompt), dropped))

    def _fit_prompt(self, claim: Claim) -> tuple[list[int], int]:
        """The prompt's tokens, without as many of the oldest turns as do not fit; and how many those were.

        The system message and the newest turn stay. Raises ``PromptTooLong`` when those alone are too long.
        """
        job, messages = claim.job, list(claim.job.messages)
        room = self._room(job.max_prompt_tokens, job.sampling.max_tokens)
        dropped = self._surplus(messages, room - self._length(job.resume_text))
        while True:
            prompt = self._render(_without_oldest(messages, dropped), job.resume_text)
            if len(prompt) <= room or dropped + 2 > _droppable(messages):
                break
            dropped += 2  # the template's own tokens made it longer than the sum of its messages
        if len(prompt) > room:
            raise PromptTooLong(f"It has {len(prompt):,} tokens; {room:,} fit.")
        return prompt, dropped

    def _surplus(self, messages: Sequence[ChatMessage], room: int) -> int:
        """How many of the oldest turns, an even number, to leave out for the rest to fit. Counts each once.

        Stops as soon as the room is full: a very long conversation is not tokenised only to be dropped.
        """
        system = 1 if messages[0].role == "system" else 0
        kept, budget = 0, float(room)
        for message in [*messages[:system], *reversed(messages[system:])]:
            size = len(message.content.encode())
            budget -= self._length(message.content) if size < BYTES_A_TOKEN * room else math.inf
            if budget < 0:
                break
            kept += 1
        surplus = max(0, len(messages) - kept)
        return min(surplus + surplus % 2, _droppable(messages))

    def _length(self, text: str) -> int:
        return len(self._engine.tokenizer.encode(text, add_special_tokens=False)) if text else 0

    def _render(self, messages: Sequence[ChatMessage], resume_text: str) -> list[int]:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        return list(self._engine.render_chat(chat, resume_text))

    def _room(self, plan_limit: int, max_tokens: int) -> int:
        """Most prompt tokens, so that an answer still has space behind them."""
        context = self._engine.context_length
        room = context - min(max_tokens, context // ANSWER_SHARE)
        return min(room, plan_limit) if plan_limit else room

    def _params(self, claim: Claim, prompt_tokens: int) -> SamplingParams:
        """The job's choices over the model's own; the same seed whoever goes on with the job."""
        wanted = claim.job.sampling
        space = self._engine.context_length - prompt_tokens
        return self._engine.sampling_params(
            max_tokens=max(1, min(wanted.max_tokens, space)),
            temperature=wanted.temperature,
            top_p=wanted.top_p,
            top_k=wanted.top_k,
            min_p=wanted.min_p,
            seed=_seed(claim.job.id) if wanted.seed is None else wanted.seed,
            stop=wanted.stop,
        )

    def _started(self, running: _Running, params: SamplingParams, prompt_tokens: int, dropped: int) -> Started:
        return Started(
            running.take_seq(),
            worker=self._name,
            model=self._report.model,
            model_revision=self._engine.revision,
            prompt_tokens=prompt_tokens,
            dropped_messages=dropped,
            seed=params.seed or 0,
            sampling={
                "temperature": params.temperature,
                "top_p": params.top_p,
                "top_k": params.top_k,
                "min_p": params.min_p,
                "max_tokens": params.max_tokens,
            },
            at=running.started,
        )

    def _take(self, output: StepOutput) -> None:
        running = self._running[output.request_id]
        running.output = output
        running.token_ids.extend(output.token_ids)
        if output.text:
            # PostgreSQL cannot store U+0000; left out here, it is out of the log and the database alike.
            running.text.append(output.text.replace("\x00", ""))
        if output.finish_reason == "error":
            logger.error("job %s failed: %s", output.request_id, output.error)
            message = "The model failed while writing this answer. What it wrote is kept."
            self._end(output.request_id, "failed", "engine_error", message)
        elif output.finish_reason is not None:
            self._end(output.request_id, output.finish_reason)

    def _end(self, generation: str, reason: EndReason, code: str = "", message: str = "") -> None:
        """The last event of a job; it is published at once, and the job forgotten."""
        running = self._running.pop(generation)
        output = running.output
        events = running.take_events()
        events.append(
            Ended(
                running.take_seq(),
                reason,
                output_tokens=output.output_tokens if output else len(running.claim.token_ids),
                cached_tokens=output.cached_tokens if output else 0,
                error_code=code,
                error_message=message,
                prefill_seconds=output.prefill_seconds if output else 0.0,
                decode_seconds=output.decode_seconds if output else 0.0,
                at=time.time(),
            )
        )
        self._transport.publish(self._name, {generation: events})

    def _flush(self) -> None:
        """Publish the window's events of every job, once the window is over."""
        now = time.monotonic()
        if now - self._flushed < FLUSH_SECONDS:
            return
        events = {generation: run for generation, job in self._running.items() if (run := job.take_events())}
        if events:
            self._flushed = now
            self._transport.publish(self._name, events)


def _droppable(messages: Sequence[ChatMessage]) -> int:
    """How many messages may be left out: all but the system's and the newest, in pairs of question and answer."""
    rest = len(messages) - (1 if messages[0].role == "system" else 0) - 1
    return rest - rest % 2


def _without_oldest(messages: Sequence[ChatMessage], dropped: int) -> list[ChatMessage]:
    first = 1 if messages[0].role == "system" else 0
    return [*messages[:first], *messages[first + dropped :]]


def _seed(job_id: str) -> int:
    """A seed of the job's own: random to people, and the same for a worker that goes on with the job."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") >> 2
