"""Middleware that knows of nothing but the request."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from .ids import uuid7

logger = structlog.get_logger("chatapp.request")
QUIET = ("/static/", "/healthz", "/readyz", "/metrics")


@sync_and_async_middleware
def request_log(
    get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """One log line a request, and an id on it that the response carries as ``X-Request-ID``."""

    def finish(request: HttpRequest, response: HttpResponseBase, request_id: str, started: float) -> HttpResponseBase:
        response.headers["X-Request-ID"] = request_id
        if not request.path.startswith(QUIET):
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            log = logger.bind(method=request.method, path=request.path, status=response.status_code)
            log.info("request", ms=milliseconds, request_id=request_id)
        return response

    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            request_id, started = uuid7().hex, time.perf_counter()
            return finish(request, await get_response(request), request_id, started)  # type: ignore[misc]

        markcoroutinefunction(middleware)
        return middleware

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        request_id, started = uuid7().hex, time.perf_counter()
        return finish(request, get_response(request), request_id, started)  # type: ignore[arg-type]

    return sync_middleware
