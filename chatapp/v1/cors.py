"""Programs in a browser: any page may call /v1 with a key of its own. Cookies mean nothing here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase

View = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

SHOWN = (
    *("Retry-After", "X-Request-ID", "x-should-retry"),
    *(f"x-ratelimit-{what}-requests" for what in ("limit", "remaining", "reset")),
)
ONE_DAY = 86_400  # seconds; browsers keep a permission for less


def allow_any_origin(get_response: View) -> View:
    """Answers a browser's question whether it may call, and shows every page the answers to its calls."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        asked = request.headers.get("Access-Control-Request-Method")
        response = await get_response(request) if request.method != "OPTIONS" or asked is None else _permission(request)
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = ", ".join(SHOWN)
        return response

    return middleware


def _permission(request: HttpRequest) -> HttpResponse:
    """``*`` would not let Authorization through; so it is what was asked for."""
    response = HttpResponse(status=204)
    response.headers["Access-Control-Allow-Methods"] = "GET, POST"
    response.headers["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "")
    response.headers["Access-Control-Max-Age"] = str(ONE_DAY)
    response.headers["Vary"] = "Access-Control-Request-Headers"
    return response
