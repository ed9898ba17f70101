"""The page of a person's sessions: which devices, from where, last seen when; end one, or all others."""

from __future__ import annotations

from typing import Any

from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.models import User
from accounts.sessions import device_of, end_sessions


class EndForm(forms.Form):
    """Which one; all others without a number."""

    session = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class Sessions(LoginRequiredMixin, View):
    http_method_names = ("get", "head", "post")

    def get(self, request: HttpRequest) -> HttpResponse:
        user: User = request.user  # type: ignore[assignment]
        rows = sorted(UserSession.objects.purge_and_list(user), key=lambda row: row.last_seen_at, reverse=True)
        current = request.session.session_key
        sessions = [_shown(row, current) for row in rows]
        context = {"sessions": sessions, "others": any(not shown["current"] for shown in sessions)}
        return render(request, "usersessions/usersession_list.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        user: User = request.user  # type: ignore[assignment]
        form = EndForm(request.POST)
        if form.is_valid():
            count = end_sessions(
                person=user, current=request.session.session_key or "", only=form.cleaned_data["session"]
            )
            if count:
                messages.success(request, f"{count} {'session is' if count == 1 else 'sessions are'} logged out.")
        return redirect("usersessions_list")


def _shown(row: UserSession, current: str | None) -> dict[str, Any]:
    return {"row": row, "device": device_of(row.user_agent), "current": row.session_key == current}
