"""Django for /v1 alone, without the browser's middleware.

No session, no cookies, no CSRF, no pages; and some of that middleware is synchronous, which would hold a thread
for as long as an answer is being written.
"""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponseBase
from django.middleware.security import SecurityMiddleware

from chatapp.common.request_log import request_log

from .cors import View, allow_any_origin
from .errors import InvalidCall, as_chatapp_error, error_response


class ApiHandler(ASGIHandler):
    """Resolves the same addresses as the whole product; the router gives it /v1 and those below only."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        view = in_our_shape(self._get_response_async)  # type: ignore[attr-defined]
        logged = in_our_shape(request_log(allow_any_origin(view)))  # type: ignore[arg-type]
        self._middleware_chain = in_our_shape(secure(logged))

    def create_request(self, scope: Any, body_file: Any) -> tuple[Any, Any]:
        """Django answers what cannot be a request before any middleware is asked."""
        request, refused = super().create_request(scope, body_file)  # type: ignore[misc]
        if refused is not None:
            error = InvalidCall("This is no valid request.", code="bad_request", status=refused.status_code)
            refused = error_response(error)
        return request, refused


def in_our_shape(get_response: View) -> View:
    """As Django's ``convert_exception_to_response``, in OpenAI's shape: for what no view was there to catch."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        try:
            return await get_response(request)
        except Exception as error:
            return error_response(as_chatapp_error(request, error))

    return middleware


def secure(get_response: View) -> View:
    """HTTPS, HSTS and the like, as everywhere; Django's own takes a thread for what is a few headers."""
    security = SecurityMiddleware(get_response)  # type: ignore[arg-type]

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = security.process_request(request) or await get_response(request)
        return security.process_response(request, response)  # type: ignore[arg-type]

    return middleware
