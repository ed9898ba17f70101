"""What holds while a request is answered: the tenant that its address names, and the reader's time zone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from hashlib import sha256
from ipaddress import ip_address
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import redis
from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from accounts.audit import Origin, acting_from
from accounts.models import Membership
from accounts.permissions import find_membership, get_membership
from accounts.scoping import enter_scope
from accounts.sessions import note_session_seen
from chatapp.common.errors import ChatappError
from chatapp.common.json import error_response

ZONE_COOKIE = "tz"
PAGES = {403: "web/second_factor_needed.html"}  # what a workspace answers to those whom it does not let in; else 404
Find = Callable[[Any, str], Membership]


class RefuseNul:
    """U+0000 in an address is a bad request: PostgreSQL cannot look for it, SQLite can, and nobody means it.

    Forms and serializers look at their own fields, and say which one it is.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "\x00" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            raise BadRequest("There is a U+0000 in the address.")
        return self.get_response(request)


class TenantScopeMiddleware:
    """The request's door to a tenant: ``/w/<slug>/…`` and ``/api/v1/w/<slug>/…`` set the scope, or nothing does.

    Sets ``request.membership`` and the tenant scope for views whose address names a workspace.

    A stranger gets 404, someone not logged in is sent to log in (401 from the API). Platform staff
    in the admin see every tenant. After the response there is no scope again.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        enter_scope(None)
        request.membership = None  # type: ignore[attr-defined]
        try:
            return self.get_response(request)
        finally:
            enter_scope(None)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        if request.path.startswith("/admin/") and request.user.is_staff:
            enter_scope("all")
        if "workspace" not in kwargs:
            return None
        needs = getattr(getattr(view, "cls", None), "needs_second_factor", True)
        find = get_membership if needs else find_membership
        return self._enter_workspace(request, kwargs.pop("workspace"), find)

    def _enter_workspace(self, request: HttpRequest, slug: str, find: Find) -> HttpResponseBase | None:
        api = request.path.startswith("/api/")
        if not request.user.is_authenticated:
            return (
                error_response(401, "not_authenticated", "Please log in first.")
                if api
                else redirect_to_login(request.get_full_path())
            )
        try:
            membership = find(request.user, slug)
        except ChatappError as error:
            return (
                error_response(error.status, error.code, error.message)
                if api
                else render(request, PAGES.get(error.status, "404.html"), status=error.status)
            )
        request.membership = membership  # type: ignore[attr-defined]
        enter_scope(membership.tenant_id)
        return None


class AuditOriginMiddleware:
    """What is done in a request comes from its person, address and program: see ``accounts.audit``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with acting_from(Origin(request.user.pk, _address(request), request.headers.get("User-Agent", ""))):
            return self.get_response(request)


def _address(request: HttpRequest) -> str | None:
    """Of whoever asks, as the server has it from proxies that it trusts; None where it is no address."""
    try:
        return str(ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return None


class LastSeenMiddleware:
    """Notes when, and from where, a session was last used: once a minute at most."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        key = request.session.session_key
        if key and request.user.is_authenticated and _first_this_minute(key):
            note_session_seen(key=key, address=_address(request))
        return self.get_response(request)


def _first_this_minute(key: str) -> bool:
    """Also where the cache is away: then it is noted more often."""
    try:
        return bool(cache.add(f"seen:{sha256(key.encode()).hexdigest()}", 1, 60))
    except redis.RedisError:
        return True


class BrowserZoneMiddleware:
    """Days and times of a page are the reader's, whose browser tells its zone in a cookie; UTC until it has.

    Not in the admin: its days are those of quotas and reports, which are UTC.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        told = "" if request.path.startswith("/admin/") else request.COOKIES.get(ZONE_COOKIE, "")
        with timezone.override(ZoneInfo(told) if told in _zones() else None):
            return self.get_response(request)


@functools.cache
def _zones() -> set[str]:
    return available_timezones()
