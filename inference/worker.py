"""A worker: claims jobs from the transport, runs them on an engine, publishes what they write.

One thread owns the engine: it takes claims and cancels from the link, computes one step, and leaves
what was written with the link, which talks to the transport meanwhile. So a cancelled answer is out of
the batch before the next step, and the GPU never waits for a network.

``python -m inference.worker --socket PATH`` is the worker of the embedded product, a child of ``serve``;
``--redis URL`` makes it one of many, on any machine that reaches Redis.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from .engine import EngineConfig, LLMEngine, SamplingParams
from .engine.config import WEIGHTS
from .engine.outputs import StepOutput
from .errors import EngineError, InferenceError, ModelError, OutOfMemory, PromptTooLong, TransportUnavailable
from .fitting import fit_prompt, shared_tokens
from .link import Link
from .messages import Claim, Ended, EndReason, Event, Started, Text, WorkerReport
from .transport import LocalTransport, RedisTransport, Transport

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
FLUSH_SECONDS = 0.025  # tokens of one window travel together
IDLE_SECONDS = 0.5  # longest wait for a job before the next heartbeat
REPORT_SECONDS = 0.5

DRAIN = 64  # jobs that a worker without an engine ends at once
GONE = "The model is not running. Your message is kept; try again when it is back."
FAILURES = {
    EngineError.code: "The model failed while writing this answer. What it wrote is kept.",
    OutOfMemory.code: "There was not enough memory to go on with this answer. What was written is kept.",
}

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
        self._link = Link(transport, name)
        self._flushed = self._reported = 0.0
        self._engine: LLMEngine

    @property
    def report(self) -> WorkerReport:
        return self._report

    def stop(self) -> None:
        """End ``run`` after the step under way. Answers being written stay unfinished in the transport."""
        self._stopping.set()

    def run(self) -> None:
        self._link.start()
        try:
            self._load_engine()
            while not self._stopping.is_set():
                self._turn()
        except Exception as error:  # no model, a fault of ours, no memory: say so rather than leave people waiting
            self._fail_all(error)
        finally:
            self._link.close()

    def _turn(self) -> None:
        """One round of the loop."""
        self._exchange()
        if self._engine.has_unfinished:
            for output in self._engine.step():
                self._take(output)
        self._flush()

    # Loading

    def _load_engine(self) -> None:
        """Load, with a heartbeat: a large model can be silent for longer than a worker may be."""
        loaded = threading.Event()
        threading.Thread(target=self._keep_telling, args=(loaded,), name="heartbeat", daemon=True).start()
        try:
            self._engine = self._load(self._tell_loading)
        finally:
            loaded.set()
        engine = self._engine
        self._tell("ready", model_revision=engine.revision, context_length=engine.context_length, progress=1.0)

    def _keep_telling(self, loaded: threading.Event) -> None:
        while not loaded.wait(HEARTBEAT_SECONDS):
            self._tell(self._report.state)

    def _tell_loading(self, share: float, detail: str) -> None:
        state = "downloading" if detail.startswith(("Looking up", "Downloading")) else "loading"
        self._tell(state, progress=share, detail=detail)

    def _fail_all(self, error: Exception) -> None:
        """There is no engine: say why, end what it held and what waits, until someone stops the worker."""
        if not isinstance(error, ModelError):  # of those the report says all there is to say
            logger.error("the engine has failed", exc_info=error)
        detail = str(error) or type(error).__name__
        for generation in list(self._running):
            self._end(generation, "failed", "engine_error", GONE)
        while not self._stopping.is_set():
            self._tell("failed", detail=detail)
            self._link.beat(DRAIN, 0, busy=False)
            for claim in self._link.take(IDLE_SECONDS)[0]:
                self._running[claim.job.id] = _Running(claim, claim.next_seq, time.time())
                self._end(claim.job.id, "failed", "no_worker", GONE)

    def _tell(self, state: Any, **changes: Any) -> None:
        self._report = replace(self._report, state=state, at=time.time(), **changes)
        with contextlib.suppress(TransportUnavailable):  # whoever would hear it is not there
            self._transport.renew(self._name, self._report)

    # One turn

    def _exchange(self) -> None:
        """Stop what was cancelled or lost, begin what was claimed; wait for a job when there is none."""
        engine = self._engine
        self._link.beat(engine.free_slots, engine.free_kv_tokens, busy=bool(self._running), report=self._next_report())
        claims, renewal = self._link.take(0.0 if self._running else IDLE_SECONDS)
        for generation in renewal.lost & self._running.keys():
            engine.abort(generation)
            del self._running[generation]
        for generation in renewal.cancelled & self._running.keys():
            engine.abort(generation)
            self._end(generation, "cancelled")
        for claim in claims:
            self._begin(claim)

    def _next_report(self) -> WorkerReport | None:
        """The heartbeat's content, now and then."""
        if time.monotonic() - self._reported < REPORT_SECONDS:
            return None
        self._reported, engine = time.monotonic(), self._engine
        self._report = replace(
            self._report,
            free_slots=engine.free_slots,
            free_kv_tokens=engine.free_kv_tokens,
            counters=engine.counters(),
            at=time.time(),
        )
        return self._report

    def _begin(self, claim: Claim) -> None:
        job = claim.job
        running = _Running(claim, claim.next_seq, time.time())
        self._running[job.id] = running
        try:
            prompt, dropped = fit_prompt(self._engine, job)
            params = self._params(claim, len(prompt))
            self._engine.add_request(
                job.id,
                prompt,
                params,
                tenant=job.tenant,
                band=job.band,
                counter=claim.counter,
                shared_prefix_tokens=shared_tokens(self._engine, job, prompt),
                resume_token_ids=claim.token_ids,
            )
        except PromptTooLong as error:
            self._end(job.id, "failed", error.code, f"Too long for this model. {error} Shorten it and send it again.")
        except InferenceError as error:
            self._end(job.id, "failed", error.code, str(error))
        except Exception:
            logger.exception("job %s could not be started", job.id)
            self._end(job.id, "failed", "engine_error", "The model could not start on this message.")
        else:
            running.ready.append(self._started(running, params, len(prompt), dropped))

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
            self._end(output.request_id, "failed", output.error_code, FAILURES[output.error_code])
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
        self._link.publish({generation: events})

    def _flush(self) -> None:
        """Publish the window's events of every job, once the window is over."""
        now = time.monotonic()
        if now - self._flushed < FLUSH_SECONDS:
            return
        for generation, job in self._running.items():
            if events := job.take_events():
                self._flushed = now
                self._link.publish({generation: events})


def _seed(job_id: str) -> int:
    """A seed of the job's own: random to people, and the same for a worker that goes on with the job."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") >> 2


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m inference.worker", description=__doc__)
    parser.add_argument("--socket", type=Path, help="where the serving process offers its transport")
    parser.add_argument("--redis", default="", help="or the address of Redis; default: CHATAPP_REDIS_URL or REDIS_URL")
    parser.add_argument("--name", default=socket.gethostname())
    parser.add_argument("--model", required=True, help="the name that jobs ask for")
    parser.add_argument("--path", required=True, help="a local folder or a model hub name")
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--weights", default="auto", choices=WEIGHTS, help="how the model's matrices are kept")
    parser.add_argument("--slots", type=int, default=16, help="answers at once")
    parser.add_argument("--kv-megabytes", type=int, default=0, help="0: a share of the memory")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of torch; 0: its own choice")
    return parser.parse_args(arguments)


def connect(options: argparse.Namespace) -> tuple[Transport, bytes]:
    """The transport, and a key that prefixes in the cache are kept under.

    The key of the serving process, in hex, is in the environment and not on the command line.
    """
    if options.socket is not None:
        key = bytes.fromhex(os.environ["CHATAPP_TRANSPORT_KEY"])
        return LocalTransport(options.socket, key), key
    url = options.redis or os.environ.get("CHATAPP_REDIS_URL") or os.environ.get("REDIS_URL")
    if not url:
        sys.exit("Say where the jobs are: --redis URL (or CHATAPP_REDIS_URL), or --socket PATH.")
    # Another life of this worker must not renew the leases of one that was killed.
    options.name = f"{options.name}-{secrets.token_hex(3)}"
    return RedisTransport(url), secrets.token_bytes(32)  # the cache is this process's alone


def main(arguments: Sequence[str]) -> None:
    """A worker until SIGTERM."""
    options = parse_arguments(arguments)
    transport, key = connect(options)
    config = EngineConfig(
        model=options.path,
        device=options.device,
        weights=options.weights,
        max_num_seqs=options.slots,
        kv_memory_bytes=options.kv_megabytes * 2**20 or None,
        num_threads=options.threads or None,
        prefix_salt=hashlib.sha256(b"prefix:" + key).digest(),
    )
    # the page and the terminal have a progress of ours
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    worker = Worker(
        transport,
        lambda progress: LLMEngine(config, progress),
        name=options.name,
        model=options.model,
        demo=options.demo,
    )
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    main(sys.argv[1:])
