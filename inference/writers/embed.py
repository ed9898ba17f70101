"""Embeddings, as the worker needs them: see ``base.Writer``.

The model is loaded with the first texts, and ``rest`` is called when none have come for a while, for it may share a
small machine with one that answers. Steps are small for the same reason, and so that a cancel is heard soon. Texts of
several jobs share a step: a job of many does not hold one of few behind it.
"""

from __future__ import annotations

import base64
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..embed.folder import ModelFolder
from ..errors import EngineError, PromptTooLong
from ..messages import Claim, Ended, EndReason, Started, Vectors
from .base import Written

if TYPE_CHECKING:
    from ..embed.embedder import Embedder

logger = logging.getLogger(__name__)

SLOTS = 16
STEP_TOKENS = 512  # on one core an eighth of a second of the smallest models; larger steps are no faster
ROOM = 1_000_000  # tokens; texts take no memory to speak of until their step
IDLE_SECONDS = 600.0
LOOK_SECONDS = 0.1  # while it is loaded
FAILED = "The texts could not be embedded. Please try again."

LoadEmbedder = Callable[[], "Embedder"]


@dataclass(slots=True)
class Embedding:
    """A job under way. ``left``: places and tokens of the texts to come, the next one last; None until they have been
    read.
    """

    claim: Claim
    left: list[tuple[int, list[int]]] | None = None
    tokens: int = 0  # embedded so far, by earlier workers too
    seconds: float = 0.0
    begun: float = field(default_factory=time.monotonic)


class EmbedWriter:
    """``load`` makes the model of ``folder``; ``rest`` is called, in another thread, when a loaded one has had nothing
    to do for ``idle_seconds``.
    """

    trouble = ""

    def __init__(
        self,
        folder: ModelFolder,
        load: LoadEmbedder,
        *,
        slots: int = SLOTS,
        idle_seconds: float = IDLE_SECONDS,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder, self._load, self._slots = folder, load, slots
        self._idle_seconds, self._call_for_rest = idle_seconds, rest
        self._jobs: dict[str, Embedding] = {}
        self._embedder: Embedder | None = None
        self._loader = ThreadPoolExecutor(1, "load")
        self._loading: Future[Embedder] | None = None
        self._timer: threading.Timer | None = None
        self._revision = ""
        self._counters = {"embedded_texts": 0.0, "embedded_tokens": 0.0, "embedding_seconds": 0.0, "loads": 0.0}

    @property
    def revision(self) -> str:
        return self._revision

    @property
    def context_length(self) -> int:
        return self._folder.longest

    @property
    def free_slots(self) -> int:
        return max(0, self._slots - len(self._jobs))

    @property
    def free_kv_tokens(self) -> int:
        return ROOM

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    def begin(self, claim: Claim) -> None:
        made = [event for event in claim.log if isinstance(event, Vectors)]
        self._jobs[claim.job.id] = Embedding(claim, tokens=sum(event.tokens for event in made))

    def advance(self, window: float) -> Sequence[Written]:
        embedder = self._loaded()
        if embedder is None:
            return []
        fresh = [job for job in self._jobs.values() if job.left is None]
        written = [piece for job in fresh for piece in self._read(job, embedder)]
        written += self._step(embedder)
        if not self._jobs:
            self._rest()
        return written

    def stop(self, generation: str) -> Written | None:
        job = self._jobs.pop(generation, None)
        return Written(generation, ended=_ended(job, "cancelled")) if job else None

    def counters(self) -> dict[str, float]:
        return self._counters | {
            "dimensions": float(self._folder.dimensions),
            "loaded": float(self._embedder is not None),
            "memory_bytes": float(_memory()),
        }

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loader.shutdown(wait=False, cancel_futures=True)

    # The model

    def _loaded(self) -> Embedder | None:
        """None while it is loaded, in a thread: on a busy machine that may take longer than a worker may be silent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._embedder is not None:
            return self._embedder
        if self._loading is None:
            self._loading = self._loader.submit(self._load)
        try:
            self._embedder = self._loading.result(LOOK_SECONDS)
        except FutureTimeout:
            return None
        self._loading, self._revision = None, self._embedder.revision
        self._counters["loads"] += 1
        return self._embedder

    def _rest(self) -> None:
        self._timer = threading.Timer(self._idle_seconds, self._call_for_rest)
        self._timer.daemon = True
        self._timer.start()

    # The work

    def _read(self, job: Embedding, embedder: Embedder) -> Iterator[Written]:
        """A job's texts as tokens, and its start; its end, where nothing is left to do or a text is too long."""
        name, asked = job.claim.job.id, job.claim.job
        encoded = embedder.encode(asked.texts)
        long = next((place for place, text in enumerate(encoded) if text.is_cut), None)
        yield Written(name, started=self._started(sum(len(text.token_ids) for text in encoded)))
        if long is not None and not asked.trim:
            most = f"the {self._folder.longest:,} tokens that the model reads"
            words = f"Text {long + 1} of {len(encoded)} is longer than {most}."
            yield self._end(job, "failed", PromptTooLong.code, words)
            return
        done = {place for event in job.claim.log if isinstance(event, Vectors) for place in event.places}
        job.left = [(place, text.token_ids) for place, text in enumerate(encoded) if place not in done][::-1]
        if not job.left:
            yield self._end(job, "stop")

    def _started(self, tokens: int) -> Started:
        return Started(0, worker="", model="", model_revision=self._revision, prompt_tokens=tokens)

    def _step(self, embedder: Embedder) -> Iterator[Written]:
        chosen = self._choose()
        texts = [token_ids for _, left in chosen for _, token_ids in left]
        if not texts:
            return
        began = time.monotonic()
        try:
            vectors = embedder.embed(texts)
        except (RuntimeError, MemoryError):  # torch's words for what it cannot do, memory included
            logger.exception("a step failed")
            yield from (self._end(job, "failed", EngineError.code, FAILED) for job, _ in chosen)
            return
        seconds, start = time.monotonic() - began, 0
        self._count(texts, seconds)
        for job, taken in chosen:
            job.seconds += seconds
            yield self._made(job, taken, vectors[start : start + len(taken)].astype("<f4").tobytes())
            start += len(taken)

    def _choose(self) -> list[tuple[Embedding, list[tuple[int, list[int]]]]]:
        """A text of each job in turn, the urgent ones first, until the step is full; one at least."""
        chosen: dict[str, list[tuple[int, list[int]]]] = {}
        tokens = 0
        order = sorted(self._jobs.values(), key=lambda job: (job.claim.job.band, job.claim.counter, job.begun))
        queue = [job for job in order if job.left]
        while queue:
            for job in list(queue):
                assert job.left
                tokens += len(job.left[-1][1])
                if chosen and tokens > STEP_TOKENS:
                    queue = []
                    break
                chosen.setdefault(job.claim.job.id, []).append(job.left.pop())
                if not job.left:
                    queue.remove(job)
        return [(self._jobs[name], taken) for name, taken in chosen.items()]

    def _made(self, job: Embedding, taken: list[tuple[int, list[int]]], raw: bytes) -> Written:
        tokens = sum(len(token_ids) for _, token_ids in taken)
        places = tuple(place for place, _ in taken)
        job.tokens += tokens
        vectors = Vectors(0, places, base64.b64encode(raw).decode(), tokens)
        ended = None if job.left else self._end(job, "stop").ended
        return Written(job.claim.job.id, vectors=vectors, ended=ended)

    def _end(self, job: Embedding, reason: EndReason, code: str = "", message: str = "") -> Written:
        """The job's end, which is forgotten."""
        del self._jobs[job.claim.job.id]
        return Written(job.claim.job.id, ended=_ended(job, reason, code, message))

    def _count(self, texts: Sequence[list[int]], seconds: float) -> None:
        self._counters["embedded_texts"] += len(texts)
        self._counters["embedded_tokens"] += sum(map(len, texts))
        self._counters["embedding_seconds"] += seconds


def _ended(job: Embedding, reason: EndReason, code: str = "", message: str = "") -> Ended:
    return Ended(
        0, reason, error_code=code, error_message=message, prefill_seconds=job.seconds, prompt_tokens=job.tokens
    )


def _memory() -> int:
    """Bytes of this process that lie in memory now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
