"""What the page says of the model: its state while it loads, its name, whether it is the demo."""

from __future__ import annotations

from typing import Any

from inference.errors import TransportUnavailable
from inference.messages import ANSWER, EMBEDDING, Kind, Stats, WorkerReport

from .transport import get_transport

# A person who waits cares for the worker that is furthest along.
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
    """A model's name for people: the last part of a hub name or path."""
    return "Demo model" if worker.demo else worker.model.rstrip("/").rsplit("/", 1)[-1]


def _absent() -> dict[str, Any]:
    return {
        "state": "absent",
        "name": "",
        "label": "",
        "demo": False,
        "progress": 0.0,
        "detail": "",
        "error": None,
    }
