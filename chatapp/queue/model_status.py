"""What the page says of the model: its state while it loads, its names, what it is and can do."""

from __future__ import annotations

from typing import Any

from inference.errors import TransportUnavailable
from inference.messages import ANSWER, EMBEDDING, Kind, Stats, WorkerReport

from .transport import get_transport

# A person who waits cares for the worker that is furthest along.
SMALL = "A small model: quick, and often wrong about facts."
ABLE = "The model can be wrong. Check what matters."
MILLION, BILLION = 1_000_000, 1_000_000_000  # a model of fewer parameters than a billion is a small one
_ORDER = ("ready", "loading", "downloading", "starting", "draining", "failed")


def read_stats() -> Stats:
    """The transport's statistics; empty ones when it cannot be reached."""
    try:
        return get_transport().stats()
    except TransportUnavailable:
        return Stats()


def model_json(stats: Stats) -> dict[str, Any]:
    """The ``model`` of docs/protocol.md."""
    worker = _furthest(stats, ANSWER)
    if worker is None:
        return _absent()
    return {
        "state": worker.state,
        "name": worker.model,
        "label": label(worker),
        "about": about(worker),
        "demo": worker.demo,
        "progress": round(worker.progress, 3),
        "detail": worker.detail,
        "error": worker.detail if worker.state == "failed" else None,
    }


def embedding_state(stats: Stats) -> str:
    """Of the worker that embeds and is furthest along; ``absent`` where there is none."""
    worker = _furthest(stats, EMBEDDING)
    return worker.state if worker else "absent"


def _furthest(stats: Stats, kind: Kind) -> WorkerReport | None:
    workers = (worker for worker in stats.workers if worker.kind == kind)
    return min(workers, key=lambda worker: _ORDER.index(worker.state), default=None)


def label(worker: WorkerReport) -> str:
    """A model's name for people: as its worker tells it, else the last part of its name."""
    return "Demo model" if worker.demo else worker.label or worker.model.rstrip("/").rsplit("/", 1)[-1]


def about(worker: WorkerReport) -> str:
    """What to expect of it, and what it is where its worker tells."""
    able = SMALL if is_small(worker) else ABLE
    size = f"{_rounded(worker.parameters)} parameters" if worker.parameters else ""
    told = ", ".join(filter(None, (size, worker.license)))
    return f"{able} {told}." if told else able


def is_small(worker: WorkerReport) -> bool:
    """It is known to be: it cannot be relied on to do as it is told."""
    return 0 < worker.parameters < BILLION


def _rounded(count: int) -> str:
    """To two figures or three, as models are sold: 135 million, 7.6 billion."""
    if count >= BILLION:
        return f"{count / BILLION:.3g} billion"
    return f"{max(1, round(count / MILLION))} million"


def _absent() -> dict[str, Any]:
    return {
        "state": "absent",
        "name": "",
        "label": "",
        "about": "",
        "demo": False,
        "progress": 0.0,
        "detail": "",
        "error": None,
    }
