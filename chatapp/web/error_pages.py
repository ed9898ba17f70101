"""What an address answers with when nothing else did: a page for people, JSON for programs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from chatapp.common.errors import ChatappError
from chatapp.common.json import error_response


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
    """Needs nothing that may be what is broken: no database, no session, no person."""
    return _error(request, 500, "server_error", {"brand": settings.CHATAPP_BRAND})


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render(request, "403_csrf.html", status=403)


def _error(request: HttpRequest, status: int, code: str, alone: dict[str, Any] | None = None) -> HttpResponse:
    """A page for people, JSON for programs. ``alone``: all that the page gets to know, without context processors."""
    if request.path.startswith(("/api/", "/v1/")):
        messages = {sub.code: sub.message for sub in _errors(ChatappError)}
        return error_response(status, code, messages.get(code, ChatappError.message))
    page = render_to_string(f"{status}.html", alone, request if alone is None else None)
    return HttpResponse(page, status=status)


def _errors(cls: type[ChatappError]) -> list[type[Any]]:
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _errors(sub))]
