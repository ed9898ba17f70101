"""JSON out of plain Django views and middleware, in the same shape as the REST framework's."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpResponse

from .errors import ChatappError


def json_response(data: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(data), status=status, content_type="application/json")


def error_response(status: int, code: str, message: str) -> HttpResponse:
    """The one error shape for an error that has no exception."""
    error = ChatappError(message)
    return json_response({"error": {**error.as_json(), "code": code}}, status)
