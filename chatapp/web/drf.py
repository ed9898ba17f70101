"""REST framework's edge: what comes in, and one JSON shape for every error."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions, parsers
from rest_framework.response import Response
from rest_framework.views import set_rollback

from chatapp.common.errors import BadRequest, ChatappError, Forbidden, MethodNotAllowed, NotFound, RateLimited
from chatapp.common.text import well_formed
from chatapp.queue.outages import as_unavailable


class JSONParser(parsers.JSONParser):
    """Refuses what is nested too deeply, as it does what is no JSON."""

    def parse(self, *args: Any, **options: Any) -> Any:
        try:
            return super().parse(*args, **options)
        except RecursionError:
            raise exceptions.ParseError("The JSON is nested too deeply.") from None


class Unauthenticated(ChatappError):
    code = "not_authenticated"
    status = 401
    message = "Please log in first."


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Any expected exception as ``{"error": {...}}``; ``None`` lets an unexpected one be a 500."""
    error = _as_chatapp_error(exc)
    if error is None:
        return None
    set_rollback()
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Session"
    return Response({"error": error.as_json()}, status=error.status, headers=headers)


def _as_chatapp_error(exc: Exception) -> ChatappError | None:
    if isinstance(exc, ChatappError):
        return exc
    if unavailable := as_unavailable(exc):
        return unavailable
    if isinstance(exc, Http404 | exceptions.NotFound):
        return NotFound()
    if isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return Unauthenticated()
    if isinstance(exc, PermissionDenied | exceptions.PermissionDenied):
        return Forbidden(str(getattr(exc, "detail", "")))
    if isinstance(exc, exceptions.MethodNotAllowed):
        return MethodNotAllowed()
    if isinstance(exc, exceptions.ValidationError):
        return BadRequest(fields=_fields(exc.detail))
    if isinstance(exc, exceptions.Throttled):
        return RateLimited(retry_after=int(getattr(exc, "wait", None) or 1))
    return _other_api_error(exc)


def _other_api_error(exc: Exception) -> ChatappError | None:
    if not isinstance(exc, exceptions.APIException):
        return None
    error = BadRequest(well_formed(str(exc.detail)))
    error.status = exc.status_code
    return error


def _fields(detail: Any) -> dict[str, list[str]]:
    if not isinstance(detail, dict):
        return {"non_field_errors": [str(item) for item in detail]}
    return {name: [well_formed(str(item)) for item in _listed(problems)] for name, problems in detail.items()}


def _listed(problems: Any) -> list[Any]:
    return problems if isinstance(problems, list) else [problems]
