"""Who asks, over REST."""

from __future__ import annotations

from rest_framework import authentication
from rest_framework.request import Request


class SessionAuthentication(authentication.SessionAuthentication):
    """The browser's session. Says 401, not 403, to someone not logged in."""

    def authenticate_header(self, request: Request) -> str:
        return "Session"
