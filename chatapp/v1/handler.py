"""Django for /v1 alone, without the browser's middleware.

No session, no cookies, no CSRF, no pages; and some of that middleware is synchronous, which would hold a thread
for as long as an answer is being written.
"""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponseBase
from django.middleware.security import SecurityMiddleware

from chatapp.common.request_log import request_log

from .cors import View, allow_any_origin


class ApiHandler(ASGIHandler):
    """Resolves the same addresses as the whole product; the router gives it those below /v1/ only."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        view = convert_exception_to_response(self._get_response_async)  # type: ignore[attr-defined]
        shown = convert_exception_to_response(allow_any_origin(view))  # type: ignore[arg-type]
        logged = convert_exception_to_response(request_log(shown))  # type: ignore[arg-type]
        self._middleware_chain = convert_exception_to_response(secure(logged))  # type: ignore[arg-type]


def secure(get_response: View) -> View:
    """HTTPS, HSTS and the like, as everywhere; Django's own takes a thread for what is a few headers."""
    security = SecurityMiddleware(get_response)  # type: ignore[arg-type]

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = security.process_request(request) or await get_response(request)
        return security.process_response(request, response)  # type: ignore[arg-type]

    return middleware
