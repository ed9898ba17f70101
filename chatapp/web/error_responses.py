"""What an address answers with when nothing else did: a page for people, JSON for programs."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from chatapp.common.errors import ChatappError, Unavailable
from chatapp.common.json import error_response, json_response
from chatapp.queue.outages import RETRY_SECONDS, as_unavailable

PROGRAMS = ("/api/", "/v1/")


def nothing(request: HttpRequest, **names: str) -> HttpResponse:
    """An address where there is nothing, whoever asks."""
    return _error(request, 404, "not_found")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 400, "bad_request")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 403, "forbidden")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 404, "not_found")


def server_error(request: HttpRequest) -> HttpResponse:
    """Called by Django while it handles the exception. What passes by itself is no fault: it says when to come back.

    Needs nothing that may be what is broken: no database, no session, no person.
    """
    if error := as_unavailable(sys.exc_info()[1]):
        return unavailable(request, error)
    return _error(request, 500, "server_error", {"brand": settings.CHATAPP_BRAND})


def unavailable(request: HttpRequest, error: Unavailable) -> HttpResponse:
    """Needs as little as ``server_error``."""
    if request.path.startswith(PROGRAMS):
        response = json_response({"error": error.as_json()}, error.status)
    else:
        page = unavailable_page(error.message, retry_after=error.retry_after or RETRY_SECONDS)
        response = HttpResponse(page, status=error.status)
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def unavailable_page(message: str, *, retry_after: int) -> str:
    error = {"message": message, "retry_after": retry_after}
    return render_to_string("503.html", {"error": error, "brand": settings.CHATAPP_BRAND})


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render(request, "403_csrf.html", status=403)


def _error(request: HttpRequest, status: int, code: str, alone: dict[str, Any] | None = None) -> HttpResponse:
    """A page for people, JSON for programs. ``alone``: all that the page gets to know, without context processors."""
    if request.path.startswith(PROGRAMS):
        messages = {sub.code: sub.message for sub in _errors(ChatappError)}
        return error_response(status, code, messages.get(code, ChatappError.message))
    page = render_to_string(f"{status}.html", alone, request if alone is None else None)
    return HttpResponse(page, status=status)


def _errors(cls: type[ChatappError]) -> list[type[Any]]:
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _errors(sub))]
