"""Which models are on offer: those of the workers that live, and which of them a request gets."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chatapp.common.errors import ModelNotFound, NoWorker
from inference.errors import TransportUnavailable
from inference.messages import ANSWER, Kind, WorkerReport

from .model_status import label
from .offers import first_offered
from .transport import get_transport

RETRY_SECONDS = 15


def live_workers(kind: Kind = ANSWER) -> list[WorkerReport]:
    """Workers that serve, or will once they have loaded; none when the transport cannot be reached."""
    try:
        return serving(get_transport().stats().workers, kind)
    except TransportUnavailable:
        return []


def serving(workers: Sequence[WorkerReport], kind: Kind = ANSWER) -> list[WorkerReport]:
    """Those of ``workers`` of this kind that have not failed."""
    return [worker for worker in workers if worker.kind == kind and worker.state != "failed"]


def choose_model(requested: str, preferred: str, workers: Sequence[WorkerReport], allowed: Collection[str] = ()) -> str:
    """The model to use of ``workers``: what this request asks for, else what the person prefers, else what the operator
    does, else any (empty). ``allowed``: the only ones that the workspace lets its people use, if it names any.

    Raises ``NoWorker`` when no worker lives, ``ModelNotFound`` when none serves what was asked for. A
    preference for a model that is gone gives way. A worker that is still loading counts: its jobs
    wait, and the page says so.
    """
    served = {worker.model for worker in workers if not allowed or worker.model in allowed}
    if not served:
        raise NoWorker(retry_after=RETRY_SECONDS)
    if requested and requested not in served:
        raise ModelNotFound
    chosen = requested or (preferred if preferred in served else first_offered(served))
    return chosen or (min(served) if allowed else "")


def models_json(workers: Sequence[WorkerReport], allowed: Collection[str] = ()) -> list[dict[str, str]]:
    """Every served model once, in order of name; of those ``allowed``, if any are named."""
    by_name = {worker.model: label(worker) for worker in serving(workers) if not allowed or worker.model in allowed}
    return [{"name": name, "label": text} for name, text in sorted(by_name.items())]
