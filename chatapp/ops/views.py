"""Health, readiness and metrics."""

from __future__ import annotations

import time

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from chatapp.common.json import error_response, json_response
from chatapp.queue.model_status import embedding_state, model_json, read_stats

STARTED = time.time()


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Nothing else is looked at: a broken database is no reason to restart the web."""
    return json_response({"status": "ok", "uptime_seconds": round(time.time() - STARTED)})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when a person could get an answer now; 503 with the parts that are not ready. Embeddings are told of, and not
    waited for.
    """
    stats = read_stats()
    model = model_json(stats)
    parts = {"database": _database(), "model": model["state"]}
    ready = all(part == "ready" for part in parts.values())
    parts["embeddings"] = embedding_state(stats)
    body = {"status": "ready" if ready else "not_ready", "parts": parts, "model": model}
    response = json_response(body, 200 if ready else 503)
    response._has_been_logged = True  # type: ignore[attr-defined]  # "not yet" is an answer, not an error
    return response


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus metrics. With ``METRICS_TOKEN`` set they are given to its bearer alone."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if settings.METRICS_TOKEN and not constant_time_compare(given, settings.METRICS_TOKEN):
        return error_response(401, "not_authenticated", "Metrics need the token of METRICS_TOKEN.")
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "unreachable"
    return "ready"
